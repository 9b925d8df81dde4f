"""Errors in OpenAI's shape, `{"error": {message, type, param, code}}`; they never hold a path of the server or a key.

| status | meaning |
| --- | --- |
| 400 | malformed, unknown, or something this server never does; also a file that is not audio |
| 401 | no key, or a wrong one |
| 404, 405 | no such route, model or method |
| 408 | the client stopped sending |
| 413 | the upload, or the recording in it, is too large |
| 415 | the body is not multipart/form-data |
| 422 | understood, but the model that is served cannot do it |
| 500 | recognition failed; the log says why |
| 503 | too many files at once, or shutting down; `Retry-After` says when to come back |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from auricle.errors import AudioError, AuricleError, EngineCrashedError, UnsupportedError
from auricle.serve.auth import AuthError

if TYPE_CHECKING:
    from starlette.responses import Response

UNAUTHORISED = 401
SERVER_ERROR = 500
CLIENT_GONE = 499
RETRY_AFTER_S = 5


class RequestError(AuricleError):
    """A request that is refused with a status; `param` is the field at fault, `code` a word for programs."""

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        value: object = None,
        remedy: str | None = None,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(what, value, remedy)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


def refusal(error: AuricleError) -> RequestError:
    """Return any of our errors as one that can be told to a client."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, AuthError):
        return RequestError(UNAUTHORISED, "invalid_api_key", error.what, error.value, error.remedy)
    if isinstance(error, AudioError):
        return RequestError(400, "invalid_audio", error.what, error.value, error.remedy, param="file")
    if isinstance(error, UnsupportedError):
        return RequestError(422, "unsupported", error.what, error.value, error.remedy)
    if isinstance(error, EngineCrashedError):
        what = "the engine stopped while it worked and is started again"
        return RequestError(503, "engine_crashed", what, None, "send the file again", retry_after_s=RETRY_AFTER_S)
    return RequestError(500, "recognition_failed", "recognition failed", None, "the server's log says why")


def response(error: RequestError) -> Response:
    """Return the answer to a request that was refused."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == UNAUTHORISED else {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    kind = "server_error" if error.status >= SERVER_ERROR else "invalid_request_error"
    fields = {"message": str(error), "type": kind, "param": error.param, "code": error.code}
    return JSONResponse({"error": fields}, error.status, headers)
