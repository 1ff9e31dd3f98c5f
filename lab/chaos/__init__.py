"""Random, overlapping faults by a seed, under the checker of writes: what breaks, when, and what was kept.

`kinds` and `schedule` say what breaks and when, `nemesis` breaks it, `sampler` and `promise` know when the cluster
itself had suspended its promise, `block` plays one block on a lab, `record` and `summary` tell what it cost.
"""
