"""The evaluation harness: data sets, systems, metrics, the matrix of expected scores, and the report.

It reads data from a folder that the user names (see `datasets.data_folder`) and runs from the root of the repository:
`python -m eval.run` runs the matrix, `python -m eval.report` writes `eval/RESULTS.md`.
"""
