"""The sentence classifier: windows of tokens, the engines that run its graph, and what a graph is made from."""
