"""The three-step order in other Python libraries, on the same machine.

Their authors should find it fair: each is written as its own documentation writes such a thing,
and where there was a choice, the faster way was taken.
"""
