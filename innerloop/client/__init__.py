"""The Python client. Imports nothing of the server, neither torch nor FastAPI."""

from innerloop.client.clients import DEFAULT_URL, AsyncClient, Client
from innerloop.client.errors import InnerloopHTTPError, ServerUnreachable
from innerloop.client.inputs import read_folder
from innerloop.client.steps import ModelState

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "Client",
    "InnerloopHTTPError",
    "ModelState",
    "ServerUnreachable",
    "read_folder",
]
