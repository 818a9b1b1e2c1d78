"""A stored support set becomes a stored adapted model. Knows Redis and Celery, not HTTP.

Only `adapt` and `worker` import torch.
"""
