"""What users import and run: the client, the estimator and the command line."""

from innerloop.client import AsyncClient, Client, InnerloopHTTPError, ServerUnreachable
from innerloop.estimator import FewShotClassifier

__all__ = ["AsyncClient", "Client", "FewShotClassifier", "InnerloopHTTPError", "ServerUnreachable"]
