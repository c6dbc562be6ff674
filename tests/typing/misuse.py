"""Forty ways to use the API wrongly. Every line that ends in `# wrong` must be found by a type checker; nothing else.

Never run: read by `test_misuse.py` through mypy and pyright."""

from oxillama import Engine, Sampler, SamplingParams, Tokenizer
from oxillama.messages import Message


def options(engine: Engine) -> None:
    engine.generate("a", max_token=5)  # wrong
    engine.generate("a", temprature=0)  # wrong
    engine.generate("a", max_tokens="5")  # wrong
    engine.generate("a", temperature="hot")  # wrong
    engine.generate("a", seed=1.5)  # wrong
    engine.generate("a", stop=5)  # wrong
    engine.generate("a", stop_token_ids=["x"])  # wrong
    engine.generate("a", ignore_eos="yes")  # wrong
    engine.generate("a", logit_bias=[1, 2])  # wrong
    engine.generate("a", queue_timeout="1")  # wrong
    engine.generate("a", lora=5)  # wrong
    engine.generate(5)  # wrong
    engine.generate(["a", "b"])  # wrong
    engine.generate("a", {"max_tokens": 5})  # wrong
    engine.generate("a", max_tokens=5, temperature=0, seed=7, stop=["."], cache_salt="s", queue_timeout=None)
    engine.generate([1, 2], SamplingParams(max_tokens=5))
    engine.stream("a", top_k=0.5)  # wrong
    engine.stream("a", topp=0.5)  # wrong
    engine.submit("a", cache_salt=5)  # wrong
    engine.submit("a", progress=True)  # wrong
    engine.generate_batch(["a"], progres=True)  # wrong
    engine.generate_batch(["a"], queue_timeout=5)  # wrong
    engine.generate_batch(5)  # wrong
    engine.generate_batch(["a"], max_tokens=5, progress=True)


def chats(engine: Engine) -> None:
    good: list[Message] = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    engine.chat(good, max_tokens=5, reasoning_format="none", template_kwargs={"a": 1})
    engine.chat("hi")  # wrong
    engine.chat(good, max_tokenss=5)  # wrong
    engine.chat(good, reasoning_format="maybe")  # wrong
    engine.chat(good, template_kwargs=5)  # wrong
    engine.chat(good, continue_final_message="yes")  # wrong
    engine.stream_chat(good, stopp=["."])  # wrong
    engine.count_tokens(good, max_tokens=5)  # wrong
    role: Message = {"rol": "user", "content": "hi"}  # wrong
    speaker: Message = {"role": "human", "content": "hi"}  # wrong
    content: Message = {"role": "user", "content": 5}  # wrong
    print(role, speaker, content, engine.chat(good).message.contents)  # wrong


def engines() -> None:
    Engine("a.gguf", n_ctxt=512)  # wrong
    Engine("a.gguf", 512)  # wrong
    Engine("a.gguf", n_ctx="512")  # wrong
    Engine("a.gguf", kv_dtype="f8")  # wrong
    Engine("a.gguf", mmap=None)  # wrong
    Engine.demo(speculation="on")  # wrong
    Engine.from_pretrained("a/b", filenam="c.gguf")  # wrong
    Engine("a.gguf", n_ctx=512, kv_dtype="q8_0", speculation="auto")


def vectors(engine: Engine) -> None:
    engine.embed("a", poolin="mean")  # wrong
    engine.embed("a", pooling="max")  # wrong
    engine.embed("a", dimensions="64")  # wrong
    engine.rerank("a", "b", 5)  # wrong
    engine.rerank("a", ["b"], truncat=True)  # wrong
    engine.embed(["a", "b"], pooling="mean", normalize=False)


def results(engine: Engine) -> None:
    print(engine.generate("a").txt)  # wrong
    print(engine.generate("a").usage.prompt_token)  # wrong
    print(SamplingParams(temperature=0).replace(tempreature=1))  # wrong
    print(Sampler(temperature=1))  # wrong
    print(Tokenizer.from_gguf("a.gguf").encode("a", add_specials=True))  # wrong
