"""What users import and run: the client, the estimator and the command line."""

from innerloop.client import AsyncClient, Client, InnerloopHTTPError, ServerUnreachable, read_folder
from innerloop.estimator import FewShotClassifier

__all__ = ["AsyncClient", "Client", "FewShotClassifier", "InnerloopHTTPError", "ServerUnreachable", "read_folder"]
