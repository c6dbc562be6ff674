"""chromadb, langchain and llama-index with the objects made for them: EMBEDDER RANKER. Prints what they got."""

from __future__ import annotations

import asyncio
import json
import sys

import chromadb
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from oxillama import Engine
from oxillama.integrations.chromadb import OxillamaEmbeddingFunction
from oxillama.integrations.langchain import OxillamaEmbeddings
from oxillama.integrations.langchain import OxillamaRerank as LangchainRerank
from oxillama.integrations.llama_index import OxillamaEmbedding, OxillamaRerank

TEXTS = ["the fox ran far", "a bear who had a hat", "sea and far sea"]
QUERY = "who had a hat"


def main(embedder: str, ranker: str) -> None:
    found = {}
    with Engine(embedder, n_threads=1, progress=False) as engine, Engine(ranker, n_threads=1, progress=False) as judge:
        client = chromadb.EphemeralClient()
        collection = client.create_collection("texts", embedding_function=OxillamaEmbeddingFunction(engine))
        collection.add(ids=list("abc"), documents=TEXTS)
        found["chromadb"] = collection.query(query_texts=[QUERY], n_results=1)["documents"][0][0]

        embeddings = OxillamaEmbeddings(engine)
        assert asyncio.run(embeddings.aembed_query(QUERY)) == embeddings.embed_query(QUERY)
        store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
        found["langchain"] = store.similarity_search(QUERY, k=1)[0].page_content
        documents = [Document(page_content=text) for text in TEXTS]
        kept = LangchainRerank(engine=judge, top_n=2).compress_documents(documents, QUERY)
        found["langchain rerank"] = [each.metadata["relevance_score"] for each in kept]

        nodes = [TextNode(text=text) for text in TEXTS]
        index = VectorStoreIndex(nodes, embed_model=OxillamaEmbedding(engine))
        found["llama-index"] = index.as_retriever(similarity_top_k=1).retrieve(QUERY)[0].node.get_content()
        scored = [NodeWithScore(node=node) for node in nodes]
        best = OxillamaRerank(judge, top_n=2).postprocess_nodes(scored, query_bundle=QueryBundle(QUERY))
        found["llama-index rerank"] = [each.score for each in best]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
