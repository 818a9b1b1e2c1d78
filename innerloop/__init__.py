"""What users import and run: the client and the command line."""

from innerloop.client import Client, InnerloopHTTPError

__all__ = ["Client", "InnerloopHTTPError"]
