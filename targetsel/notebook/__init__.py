"""The commands as functions, under the same words: what `targetsel` as `ts` offers in a notebook.

Each takes paths or things in memory, and returns what the command would write. Without `output`
the result stays in memory; it has the same rows as the command's file. What an import costs is
paid where a function is called, so that `import targetsel` is instant.
"""
