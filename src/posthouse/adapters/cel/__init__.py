"""CEL expressions: checked as they are written, evaluated at once where that is certainly quick, else in limited processes.

The words of it: a `tree` is read of each expression; `judging` it says whether it may be, what it looks at, and what it may
cost; a `program` is one that was compiled; `sampling` makes facts readable, no more of them than is looked at; and
`evaluating` does it, in this process or in the `worker`.
"""
