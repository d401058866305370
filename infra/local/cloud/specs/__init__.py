"""What may be asked of the cloud: a specification for each kind of thing, and beside it what its values must be.

A rule stands here once. The cloud holds it at the operation; whoever declares a thing asks the same function before. So
nothing here needs more than the standard library: a preview that changes nothing never loads the cloud itself. What is
wrong with a value is a text that follows its name (`is ill-formed; allowed: …`); None says that nothing is.
"""
