"""The science from a shell, one module a command.

Every command prints exactly one JSON object on standard output, also when it fails; progress and
words for people go to standard error. Exit codes: 0 done, whatever the verdict, which stands in the
JSON; 2 the input or the arguments cannot be used; 3 the computation failed; 4 memory or disk ran
out, worth another try; 130 interrupted.
"""
