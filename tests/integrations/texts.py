"""What the libraries are given to embed and to rank."""

TEXTS = ["the fox ran far", "a bear who had a hat", "sea and far sea"]
QUERY = "who had a hat"
