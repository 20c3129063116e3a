"""Quality suites: what must hold for the rows of silver tables, as `dq.yml` says it.

The names and parameters are those of Great Expectations, and so is what they mean: all but the two rules about null let
a null pass. https://greatexpectations.io/expectations
"""
