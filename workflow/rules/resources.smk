"""What a job asks of a cluster: memory (mem_mb) and minutes (runtime), more at each attempt.

On one machine they limit nothing. A site's profile overrides them by rule, with `set-resources`.
"""


# A GPU belongs to the machine that a job runs on: the limit `gpu=1` holds for what one machine
# starts, and not for how many jobs are submitted to a scheduler, which gives each a GPU of its own.
resource_scopes:
    gpu="local",


def growing(first):
    """An amount that doubles with each attempt at a job."""

    def amount(wildcards, attempt):
        return first * 2 ** (attempt - 1)

    return amount
