"""The version of the science: part of every content hash.

Raise it whenever the code would give another number for the same spec (sampling, initialisation, arithmetic,
search), so that results made by two different procedures are never taken for one another.

2: the transformer's last block works on the supervised positions alone (other dropout masks there) and sums
in another order; adaptive and scan give flat curves more weight (runners/search/family.py). 3: dense_ssm of
24 or more hidden units or 12 or more tokens, and LSTM of 512 or more, sum in another order on a CPU
(runners/models/matmul.py). 4: with ``generalisation`` the candidate N_max trains its whole grid and budget,
and the parameters of each trial's best evaluation are what is tested at twice the length. All else gives what
it gave, to the bit.
"""

SCIENCE_VERSION = 4
