"""The instructions of paraphrase pre-training: each asks, in other words, for the text that `{context}` stands for."""

PARAPHRASES = (
    "Background: {context}\n\nSay the same in words.",
    "{context}\n\nWrite out the text above.",
    "Repeat this document: {context}",
    "What does the background document say?\n\nBackground: {context}",
    "Background document: {context}\n\nPut it into your own words.",
    "Here is a document in a short form: {context}\n\nGive its full text.",
    "Tell me what this means: {context}",
    "Document: {context}\n\nRestate the document.",
    "Rewrite the following so that it says the same: {context}",
    "These two texts mean the same. The first: {context}\n\nThe second:",
    "Explain what stands in this document.\n\n{context}",
    "Read the background: {context}\n\nNow tell it again.",
)
