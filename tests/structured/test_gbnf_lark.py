"""Grammars of llama.cpp's notation as the engine holds them."""

from __future__ import annotations

import re

import pytest

from oxillama import Grammar, GrammarError
from tests.structured.walks import accepts, problem, walk

JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws # with escapes
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ws
ws     ::= | " " | "\n" [ \t]{0,4}
"""
# Two faults of llguidance's own converter: escapes by number, and a comment after the text of a rule.
ESCAPES = r'root ::= "\x41\u0042" [\U00000043-\x45]'
COMMENT = 'root ::= a "!" # the end\na ::= "a" # more\n'
LIST = 'root ::= item+\nitem ::= "- " [^\\r\\n]{1,20} "\\n"'
ARITHMETIC = (
    'root ::= (expr "=" num "\\n")+\nexpr ::= term ([-+*/] term)*\nterm ::= num | "(" expr ")"\nnum ::= [0-9]{1,3}'
)
MOVES = 'root ::= ("1. " move " " move "\\n"){1,2}\nmove ::= ([NBKQR]? [a-h] [1-8] | "O-O" "-O"?) [+#]?'
NESTED = 'root ::= "(" root ")" | [a-z]* "z"'


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        (ESCAPES, ["ABC", "ABE"], ["AB", "ABF", "abc"]),
        (COMMENT, ["a!"], ["a", "a!!"]),
        (JSON, ["{}", '{"a": [1, true, "\\u00e9"], "b": {"c": null}}'], ["[]", '{"a": }', "{'a': 1}"]),
        (LIST, ["- milk\n- bread\n"], ["milk\n", "- milk"]),
        (ARITHMETIC, ["1+2*(3-4)=5\n", "7=7\n8=8\n"], ["1+=2\n", "1234=1\n"]),
        (MOVES, ["1. e4 Nf6+\n", "1. O-O O-O-O#\n1. a1 h8\n"], ["1. e9 a1\n", "e4"]),
        (NESTED, ["z", "abz", "((abz))"], ["ab", "(abz"]),
        ('root ::= "a"{2} "b"{1,} "c"{0,2} "d"?', ["aab", "aabbccd"], ["ab", "aabccc"]),
        ("root ::= [^a-c\\]] .", ["xé", "x\n"], ["ax", "]x", "x"]),
        ('root ::= x?\nx ::= "y" | ""', ["y"], ["yy"]),
    ],
)
def test_texts_are_told_apart(text: str, right: list[str], wrong: list[str]) -> None:
    grammar = Grammar.gbnf(text)
    assert [accepts(grammar, each) for each in right] == [True] * len(right)
    assert [accepts(grammar, each) for each in wrong] == [False] * len(wrong)


def test_names_may_be_alike_but_for_what_lark_does_not_take() -> None:
    grammar = Grammar.gbnf('root ::= a-b A_B a_b 1\na-b ::= "1"\nA_B ::= "2"\na_b ::= "3"\n1 ::= "4"')
    assert accepts(grammar, "1234")


def test_tokens_are_named_by_number_or_by_name() -> None:
    assert not problem(Grammar.gbnf('root ::= <[5]> "x" <|user|> !<[7]>'))
    with pytest.raises(GrammarError, match=r"line 1, column 10: the engine takes ! before a number only"):
        Grammar.gbnf("root ::= !<think>")


def test_a_repetition_that_is_too_large_is_refused_where_it_stands() -> None:
    with pytest.raises(GrammarError, match=r"line 1, column 21: .* more than 20000 characters"):
        Grammar.gbnf('root ::= ("a"{1000}){1000}')


def test_rules_inside_one_another_are_bounded() -> None:
    chain = "\n".join(f'r{number} ::= "x" r{number + 1} | "("  root ")"' for number in range(2000))
    with pytest.raises(GrammarError, match="rules inside one another, more than 400"):
        Grammar.gbnf(f'root ::= r0\n{chain}\nr2000 ::= "y"')


@pytest.mark.parametrize("seed", range(8))
def test_replies_match_what_the_grammar_says(seed: int) -> None:
    reply = walk(Grammar.gbnf(MOVES), seed)
    assert reply is not None
    move = r"(?:[NBKQR]?[a-h][1-8]|O-O(?:-O)?)[+#]?"
    assert re.fullmatch(rf"(?:1\. {move} {move}\n){{1,2}}", reply)
