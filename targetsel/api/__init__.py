"""The functions of `import targetsel as ts`: one for each command, under the same word.

A command calls its function here and prints what came back. Each takes paths or things in memory,
and returns what the command would write; without `output` the result stays in memory, with the
same rows. What an import costs is paid where a function is called, so that `import targetsel` is
instant.

The words of a group of commands stand verb first: `targetsel priors write` is `write_priors`.
"""
