"""Objects that other libraries take for their embedding models and rerankers, over an engine in this process. Each
module needs its library."""
