"""Sops files: parsed and judged without a key, opened by `reader`, written by `writer`.

Nothing here imports a crypto library until a file is opened, so that validating stays fast.
"""
