"""The web application: validates requests against the contract, executes and answers them; the control routes."""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_trifacta.emulator import oauth, world
from airflow_provider_trifacta.emulator.access import Access
from airflow_provider_trifacta.emulator.clock import Clock, Pace, timestamp
from airflow_provider_trifacta.emulator.connections import Connections
from airflow_provider_trifacta.emulator.contract import Operation, contract
from airflow_provider_trifacta.emulator.faults import Fault, Faults
from airflow_provider_trifacta.emulator.handlers import DUPLICATE, Call, Content, Handlers, person_of
from airflow_provider_trifacta.emulator.journal import Entry
from airflow_provider_trifacta.emulator.jsontext import decoded
from airflow_provider_trifacta.emulator.oauth import OAuth
from airflow_provider_trifacta.emulator.oauth_page import OAuthPage
from airflow_provider_trifacta.emulator.oauth_tokens import OAuthTokens
from airflow_provider_trifacta.emulator.pages import Pages
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.quotas import Quotas, refusal
from airflow_provider_trifacta.emulator.redaction import Redaction
from airflow_provider_trifacta.emulator.runs import Runs
from airflow_provider_trifacta.emulator.state import State

#: Headers of a request that the journal keeps. The token is not among them.
_JOURNALED = ("accept", "content-type", "user-agent", "x-execution-id")
_PROXY_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>proxy</body></html>"


_log = logging.getLogger(__name__)


class Application:
    """Serves one state.

    :param connections: the TCP connections, to reset and count them.
    :param refuse: refuses connections for N seconds.
    :param access: the access control.
    :param issuer: returns the URL of the authorization server, below which the token endpoint is.
    :param prefix: a path in front of all routes, as behind a proxy.
    """

    def __init__(
        self,
        state: State,
        *,
        clock: Clock,
        pace: Pace,
        connections: Connections,
        refuse: Callable[[float], Awaitable[None]],
        access: Access,
        issuer: Callable[[], str],
        prefix: str = "",
        enforce_quotas: bool = True,
    ) -> None:
        self.state = state
        self.clock = clock
        self.contract = contract()
        self.runs = Runs(state, clock, pace)
        self.handlers = Handlers(state, self.runs, self.contract)
        self.quotas = Quotas(clock, enforced=enforce_quotas)
        self.faults = Faults()
        self.journal: list[Entry] = []
        self.access_tokens_enabled = True
        self.oauth = OAuth(OAuthTokens(state, issuer))
        self._redaction = Redaction(self._token_values)
        self._access = access
        self._pages = Pages(state, self.runs, prefix.rstrip("/"))
        self._oauth_page = OAuthPage(state, self.oauth, prefix.rstrip("/"))
        self._connections = connections
        self._refuse = refuse
        self._prefix = prefix.rstrip("/")
        control = {
            "GET journal": self._show_journal,
            "DELETE journal": self._clear_journal,
            "GET faults": self._show_faults,
            "POST faults": self._order_fault,
            "DELETE faults": self._clear_faults,
            "PATCH settings": self._change_settings,
            "GET token": self._show_token,
            "PUT token": self._store_token,
        }
        routes = Starlette(
            routes=[
                Route(f"/emulator/{name}", self._controlled(answer), methods=[method])
                for (method, name), answer in ((key.split(), answer) for key, answer in control.items())
            ],
            exception_handlers={HTTPException: _no_route},
        )
        routes.router.redirect_slashes = False
        routes.router.default = self._serve_api
        self.asgi: ASGIApp = self._guarded(routes)

    def _guarded(self, routes: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                self._access.check_host(Request(scope))
            except Problem as problem:
                await _answer(problem)(scope, receive, send)
            else:
                await routes(scope, receive, send)

        return guarded

    def _controlled(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Any]:
        async def controlled(request: Request) -> Response:
            try:
                self._access.check_control(request)
                return await answer(request)
            except Problem as problem:
                return _answer(problem)
            except (ValueError, TypeError) as error:
                return _answer(Problem.validation(str(error)))

        return controlled

    # ------------------------------------------------------------------------------------------------- the API

    async def _serve_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._serve(Request(scope, receive))
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        request_id = str(uuid.uuid4())
        path = request.scope["raw_path"].decode("ascii", "replace")
        page = await self._page(request, path)
        if page is not None:
            return page
        operation, path_parameters, path = self._find(request.method, path)
        try:
            raw = await request.body()
        except ClientDisconnect:
            return Response(status_code=400)
        entry = Entry(
            at=self.clock.now(),
            operation=operation.id if operation else None,
            method=request.method,
            path=self._redaction.text(path),
            query=self._redaction.texts(self._query(request, operation)),
            headers=self._redaction.texts(
                (name, request.headers[name]) for name in _JOURNALED if name in request.headers
            ),
            body=self._redaction.form(raw) if operation is oauth.TOKEN else self._redaction.body(raw),
            connection=self._connections.number(request.scope),
            request_id=request_id,
        )
        self.journal.append(entry)
        due = self.faults.at_call(operation.id) if operation else []
        response = await self._respond(request, operation, path_parameters, path, raw, due, entry)
        response.headers["x-trifacta-request-id"] = request_id
        response.headers["date"] = formatdate(self.clock.now(), usegmt=True)
        entry.status = None if isinstance(response, LostAnswer) and response.nothing_sent else response.status_code
        if operation:
            seconds = self.faults.refusal_before_next(operation.id)
            if seconds is not None:
                response.headers["connection"] = "close"
                await self._refuse(seconds)
        return response

    async def _page(self, request: Request, path: str) -> Response | None:
        """Return an HTML page, None if the client is not a browser or there is no page."""
        accepted = request.headers.get("accept", "*/*")
        if not ("text/html" in accepted or accepted == "*/*"):
            return None
        of_oauth = path.removesuffix("/") == self._oauth_page.path
        try:
            if request.method == "POST" and of_oauth:
                self._access.check_local(request)
                self._access.check_origin(request)
                return self._oauth_page.act(await request.body(), request.headers.get("content-type", ""))
            page = self._oauth_page.show if of_oauth else self._pages.find(path)
            if request.method != "GET" or page is None:
                return None
            self._access.check_local(request)
            return page()
        except ClientDisconnect:
            return Response(status_code=400)
        except Problem as problem:
            return _answer(problem)

    def _find(self, method: str, path: str) -> tuple[Operation | None, dict[str, str], str]:
        """Return the operation of a request, its path parameters, and the path without the prefix."""
        if (method, path) == (oauth.TOKEN.method, oauth.TOKEN.path):
            return oauth.TOKEN, {}, path
        path = path.removeprefix(self._prefix) if path.startswith(f"{self._prefix}/") else ""
        found = self.contract.find(method, path)
        return (*found, path) if found and self._serves(found[0]) else (None, {}, path)

    def _serves(self, operation: Operation) -> bool:
        enabled = self.access_tokens_enabled and not self.oauth.settings.oauth_only
        if operation.resource == "apiAccessTokens" and not enabled:
            return False
        return self.handlers.serves(operation)

    def _token_values(self) -> Iterator[str]:
        for token in self.state.rows("apiAccessTokens"):
            yield token["_value"]
        yield from self.oauth.tokens.values()

    def _query(self, request: Request, operation: Operation | None) -> Iterable[tuple[str, str]]:
        if operation is oauth.TOKEN:
            return self._redaction.fields(request.url.query)
        return request.query_params.items()

    async def _respond(
        self,
        request: Request,
        operation: Operation | None,
        path_parameters: dict[str, str],
        path: str,
        raw: bytes,
        due: list[Fault],
        entry: Entry,
    ) -> Response:
        for fault in due:
            entry.fault = fault.kind
            if fault.kind in ("expire_token", "delete_token"):
                delete = fault.kind == "delete_token"
                if operation is oauth.TOKEN:
                    self.oauth.end_token_of(raw, request.headers.get("content-type", ""), expire=not delete)
                else:
                    self._end_token(request, delete=delete)
            elif fault.kind == "delay" and not fault.after:
                await asyncio.sleep(fault.seconds)
            elif not fault.after and fault.kind != "cut":
                return self._broken(fault, operation, None, request)
        response = self._carry_out(request, operation, path_parameters, path, raw)
        for fault in due:
            if fault.kind == "delay" and fault.after:
                await asyncio.sleep(fault.seconds)
            elif (fault.after and fault.kind != "delay") or fault.kind == "cut":
                return self._broken(fault, operation, response, request)
        return response

    def _carry_out(
        self,
        request: Request,
        operation: Operation | None,
        path_parameters: dict[str, str],
        path: str,
        raw: bytes,
    ) -> Response:
        if operation is oauth.TOKEN:
            return self.oauth.answer(raw, request.headers.get("content-type", ""))
        headers: dict[str, str] = {}
        try:
            if operation is None:
                raise Problem.no_route(request.method, path)
            person = self._authenticated(request)
            _check_media_types(request, operation, raw)
            headers = self.quotas.admit(operation, person)
            call = Call(
                operation=operation,
                path=operation.check_path(path_parameters),
                query=operation.check_query(dict(request.query_params)),
                body=_checked_body(operation, raw),
                person=person,
                headers=request.headers,
                raw=raw,
            )
            result = self.handlers.handle(call)
        except Problem as problem:
            return JSONResponse(problem.body(), problem.status, headers | problem.headers)
        except Exception as error:  # something odd passed the checks: the sender's fault as much as ours
            _log.warning("%s %s could not be carried out", request.method, path, exc_info=True)
            return _answer(Problem.validation(f"cannot be carried out: {type(error).__name__}: {error}"[:500]))
        if request.method != "GET":
            self.state.save()
        if result is DUPLICATE:
            return Response(status_code=304, headers=headers)
        if result is None:
            return Response(status_code=operation.success, headers=headers)
        if isinstance(result, Content):
            return Response(result.body, operation.success, headers, result.media_type)
        return JSONResponse(result, operation.success, headers)

    def _authenticated(self, request: Request) -> int:
        """Return the user of the token of a request.

        :raises Problem: 401.
        """
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        value = value.strip() if scheme.lower() == "bearer" else ""
        person = self.oauth.tokens.person_of(value)
        if person is not None:
            return person
        person, token = person_of(self.state, value)
        if self.oauth.settings.oauth_only:
            raise Problem.unauthorized("API access tokens are not accepted, only OAuth 2.0 API tokens")
        token["lastUsed"] = timestamp(self.clock.now())
        return person

    def _broken(
        self, fault: Fault, operation: Operation | None, response: Response | None, request: Request
    ) -> Response:
        """Return the answer as changed by a fault; ``response`` is None if the work was not done."""
        headers = dict(fault.headers or {})
        if fault.kind == "reset":
            return LostAnswer(self._connections, None)
        if fault.kind == "cut" and response is not None:
            return LostAnswer(self._connections, response)
        if fault.kind == "html":
            page = _PROXY_PAGE.format(f"{fault.status} from a proxy")
            return Response(page, fault.status, headers, "text/html")
        if fault.kind == "rate_limit":
            now = self.clock.now()
            if operation is oauth.TOKEN:
                wait = {"retry-after": str(math.ceil(60 - now % 60))}
                return oauth.ordered(429, wait if fault.headers is None else headers)
            limit = operation.quota.user if operation and operation.quota else 1
            name = operation.id if operation else ""
            window_ends = (now // 60 + 1) * 60
            problem = refusal(
                name, "user", limit, window_ends=window_ends, now=now, with_headers=fault.headers is None
            )
            return JSONResponse(problem.body(), problem.status, problem.headers | headers)
        problem = Problem.ordered(fault.status)
        if fault.status in (204, 304):
            return Response(status_code=fault.status, headers=headers)
        if operation is oauth.TOKEN:
            return oauth.ordered(fault.status, headers)
        return JSONResponse(problem.body(), fault.status, headers)

    def _end_token(self, request: Request, *, delete: bool) -> None:
        value = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.oauth.tokens.end(value, expire=not delete)
        for token in list(self.state.rows("apiAccessTokens")):
            if token["_value"] == value:
                if delete:
                    del self.state.tables["apiAccessTokens"][token["tokenId"]]
                else:
                    token["expiredAt"] = timestamp(self.clock.now() - 1)

    # ---------------------------------------------------------------------------------------- the control routes

    async def _show_journal(self, request: Request) -> Response:
        return JSONResponse({"data": [entry.as_json() for entry in self.journal]})

    async def _clear_journal(self, request: Request) -> Response:
        self.journal.clear()
        return Response(status_code=204)

    async def _show_faults(self, request: Request) -> Response:
        return JSONResponse({"data": [fault.as_json() for fault in self.faults.all()]})

    async def _order_fault(self, request: Request) -> Response:
        fault = Fault.from_json(decoded(await request.body()))
        await self.order(fault)
        return JSONResponse(fault.as_json(), 201)

    async def order(self, fault: Fault) -> None:
        """Order a fault; a refusal before the first call begins immediately."""
        self.faults.order(fault)
        seconds = self.faults.refusal_before_next()
        if seconds is not None:
            await self._refuse(seconds)

    async def _clear_faults(self, request: Request) -> Response:
        self.faults.clear()
        return Response(status_code=204)

    async def _change_settings(self, request: Request) -> Response:
        """Change the pace, or what the server supports, while it runs."""
        settings = decoded(await request.body())
        self.change_settings(**settings)
        return JSONResponse(settings)

    async def _show_token(self, request: Request) -> Response:
        return JSONResponse({"token": self.state.stored_token})

    async def _store_token(self, request: Request) -> Response:
        body = decoded(await request.body())
        if not isinstance(body, dict) or not isinstance(body.get("token"), str):
            raise Problem.validation("token: missing")
        if not isinstance(body.get("if_token", ""), str):
            raise Problem.validation("if_token: not a string")
        # Nothing is awaited in between, so no other request can store a token.
        if body.get("if_token", self.state.stored_token) != self.state.stored_token:
            raise Problem.conflict("another token is stored by now")
        self.store_token(body["token"])
        return Response(status_code=204)

    def store_token(self, token: str) -> None:
        """Change the token that the control route keeps."""
        self.state.stored_token = token
        self.state.save()

    def change_settings(
        self,
        *,
        pace: str | None = None,
        enforce_quotas: bool | None = None,
        honour_execution_id: bool | None = None,
        access_tokens_enabled: bool | None = None,
        library_lag: float | None = None,
        opaque_tokens: bool | None = None,
        endless_tokens: bool | None = None,
        source_word: str | None = None,
        quotas: dict[str, Any] | None = None,
        quota_window: int | None = None,
        **others: Any,
    ) -> None:
        """Change how the server behaves; None leaves a setting unchanged.

        :param pace: ``at-once``, ``polls=N`` or ``seconds=N``.
        :param library_lag: seconds until the job library shows a new job group.
        :param opaque_tokens: whether the values of new tokens do not contain their ids.
        :param endless_tokens: whether tokens that never expire may be created.
        :param source_word: the source (``ranfrom``) of runs that the API starts from now on: ``api``, or another
            value; ``null`` sets none.
        :param quotas: limits per user and per workspace in place of the documented ones, by operation id:
            ``{"runJobGroup": (6, 6)}``.
        :param quota_window: seconds in which they count; 60 at first.
        :param others: how the token endpoint behaves (names with ``oauth_``), see
            :class:`~airflow_provider_trifacta.emulator.oauth.OAuthSettings`; how job groups are written, see
            :class:`~airflow_provider_trifacta.emulator.writing.Writing`.
        :raises ValueError: the pace is invalid, or a way of writing is unknown.
        :raises TypeError: there is no such setting.
        """
        new_pace = None if pace is None else Pace.parse(pace)
        of_oauth = {name: value for name, value in others.items() if name.startswith("oauth_")}
        new_oauth = replace(
            self.oauth.settings, **{name: value for name, value in of_oauth.items() if value is not None}
        )
        new_writing = replace(
            self.handlers.writing, **{name: value for name, value in others.items() if name not in of_oauth}
        )
        for name, value in (
            ("enforce_quotas", enforce_quotas),
            ("honour_execution_id", honour_execution_id),
            ("access_tokens_enabled", access_tokens_enabled),
            ("opaque_tokens", opaque_tokens),
            ("endless_tokens", endless_tokens),
        ):
            if not isinstance(value, (bool, type(None))):
                raise ValueError(f"{name}: must be true or false")
        if source_word is not None and not isinstance(source_word, str):
            raise ValueError("source_word: must be a string")
        lag = None if library_lag is None else float(library_lag)
        if lag is not None and not (math.isfinite(lag) and lag >= 0):
            raise ValueError("library_lag: must be a non-negative number of seconds")
        self.quotas.replace_limits(quotas, quota_window)
        if new_pace is not None:
            self.runs.pace = new_pace
        if enforce_quotas is not None:
            self.quotas.enforced = enforce_quotas
        if honour_execution_id is not None:
            self.handlers.honour_execution_id = honour_execution_id
        if access_tokens_enabled is not None:
            self.access_tokens_enabled = access_tokens_enabled
        if lag is not None:
            self.handlers.library_lag = lag
        if opaque_tokens is not None:
            self.handlers.opaque_tokens = opaque_tokens
        if endless_tokens is not None:
            self.handlers.endless_tokens = endless_tokens
        if source_word is not None:
            self.runs.source_word = None if source_word == "null" else source_word
        self.oauth.settings = new_oauth
        self.handlers.writing = new_writing


def _answer(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.body(), problem.status, problem.headers)


def _no_route(request: Request, error: Exception) -> Response:
    return _answer(Problem.no_route(request.method, request.url.path))


class LostAnswer(Response):
    """Ends the connection instead of answering, or in the middle of the answer.

    :param cut: the answer to send half of; None sends nothing and resets the connection.
    """

    def __init__(self, connections: Connections, cut: Response | None) -> None:
        super().__init__(cut.body if cut else b"", cut.status_code if cut else 200)
        self.nothing_sent = cut is None
        self._connections = connections
        if cut is not None:
            self.raw_headers = list(cut.raw_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the answer, if there is one, then end the connection."""
        if self.nothing_sent:
            self._connections.reset(scope)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: max(1, len(self.body) // 2)]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        self._connections.close(scope)


def _check_media_types(request: Request, operation: Operation, raw: bytes) -> None:
    accepted = request.headers.get("accept", "*/*")
    main_type = operation.produces.partition("/")[0]
    # Accept: application/json is also allowed for PDFs and packages: the documents disagree on their media types.
    if not any(kind in accepted for kind in ("*/*", operation.produces, f"{main_type}/*", "application/json")):
        raise Problem.media_type(f"Accept is {accepted!r}; this operation returns {operation.produces}")
    if raw and operation.consumes:
        sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent != operation.consumes:
            raise Problem.media_type(f"Content-Type is {sent!r}; this operation takes {operation.consumes}")


def _checked_body(operation: Operation, raw: bytes) -> Any:
    if operation.consumes != "application/json":
        return None
    if not raw:
        if operation.body_required:
            raise Problem.validation("body: missing")
        return {}
    try:
        body = decoded(raw)
    except ValueError as error:
        raise Problem.validation(f"body: not JSON ({error})") from None
    operation.check_body(body)
    return body


def new_world(state: State, *, token: str | None) -> str:
    """Load the state, or start with the default world. Return the value of a valid token."""
    if not state.load():
        world.create(state, token=token)
        state.save()
    tokens = state.tables["apiAccessTokens"]
    if token is not None and all(row["_value"] != token for row in tokens.values()):
        world.add_token(state, world.PERSON, value=token)
    working = [row["_value"] for row in tokens.values() if row["expiredAt"] is None]
    token = token or (working[0] if working else world.add_token(state, world.PERSON)["_value"])
    state.stored_token = state.stored_token or token
    return token
