from __future__ import annotations

import json
import locale
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from fsspec.spec import AbstractBufferedFile
from support import Answer, FakeClock, ScriptedServer, run_deferred

from airflow_provider_trifacta.airflow_support.compat import ObjectStoragePath
from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaProfileMissing,
    TrifactaResultsNotSaved,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.tasks.outcome import OwnRun
from airflow_provider_trifacta.tasks.results import ResultPaths, save_results

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach  # type: ignore[no-redef]

ARGUMENTS = ("profile_pdf_path", "profile_json_path", "outputs_json_path")


@pytest.fixture
def run(context: dict[str, Any], emulator: Emulator, connect: Callable[..., None]) -> Callable[..., Any]:
    connect(emulator, retry_budget=0)

    def execute(**arguments: Any) -> Any:
        defaults = {"task_id": "task", "wrangled_dataset_id": 7, "poll_interval": 0.05}
        return run_deferred(TrifactaRunJobGroupOperator(**{**defaults, **arguments}), context)

    return execute


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path)
    # Storage in memory stands for S3 and the like: what is written there has no path on this machine.
    attach("memory", fs=MemoryFileSystem())
    return f"memory://{tmp_path.name}"


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if "://" not in path else ObjectStoragePath(path).read_bytes()


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_results_are_brought(run: Any, emulator: Emulator, folder: str, deferrable: bool) -> None:
    names = {name: f"{folder}/results/{name}" for name in ARGUMENTS}
    assert run(deferrable=deferrable, **names) == emulator.job_groups[0]["id"]
    assert _read(names["profile_pdf_path"]).startswith(b"%PDF")
    assert "7" in json.loads(_read(names["profile_json_path"]))
    outputs = json.loads(_read(names["outputs_json_path"]))
    assert outputs["files"][0]["uri"] == "s3://example-bucket/orders/out_7.csv"
    assert outputs["tables"] == []


def test_paths_may_be_objects_and_replace_what_is_there(run: Any, tmp_path: Path) -> None:
    pdf, outputs = tmp_path / "profile.pdf", ObjectStoragePath(f"file://{tmp_path}/outputs.json")
    pdf.write_text("old")
    run(profile_pdf_path=pdf, outputs_json_path=outputs)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert "files" in json.loads((tmp_path / "outputs.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs.json", "profile.pdf"]
    (tmp_path / "usual").touch()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1, "readable by whoever may read new files"


@pytest.mark.parametrize("name", ["profile_pdf_path", "profile_json_path"])
def test_a_run_without_profiling_says_so(run: Any, emulator: Emulator, tmp_path: Path, name: str) -> None:
    target = tmp_path / "profile"
    assert run(**{name: target, "overrides": {"profiler": False}}) == emulator.job_groups[0]["id"]
    assert not target.exists()
    with pytest.raises(TrifactaProfileMissing, match=r'ran without profiling.*overrides=\{"profiler": True\}'):
        run(**{name: target, "overrides": {"profiler": False}, "profile_required": True})


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("getJobGroupPdfResults", "profile_pdf_path"),
        ("getProfilingInformationForJobGroupConsistent", "profile_json_path"),
        ("getJobGroupOutputs", "outputs_json_path"),
    ],
)
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "html", "status": 200}])
def test_a_result_that_cannot_be_read_leaves_nothing_behind(
    run: Any, emulator: Emulator, tmp_path: Path, operation: str, name: str, fault: dict[str, Any]
) -> None:
    emulator.order(operation, call=None, **fault)
    with pytest.raises(TrifactaResultsNotSaved, match=r"is Complete, but its .* starts no new job group"):
        run(**{name: tmp_path / "result"})
    assert list(tmp_path.iterdir()) == []
    assert len(emulator.job_groups) == 1


def test_an_answer_that_is_cut_leaves_nothing_behind(run: Any, emulator: Emulator, tmp_path: Path) -> None:
    emulator.order("getJobGroupPdfResults", "cut", call=None)
    with pytest.raises(TrifactaResultsNotSaved):
        run(profile_pdf_path=tmp_path / "profile.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [7, True, " ", "gopher://bucket/x"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_path_that_cannot_be_used_starts_nothing(run: Any, emulator: Emulator, name: str, bad: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match=name):
        run(**{name: bad})
    assert emulator.journal == []


@pytest.mark.parametrize("name", ARGUMENTS)
def test_nothing_can_be_brought_without_waiting(name: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=f"{name}.*wait_for_completion=True"):
        TrifactaRunJobGroupOperator(
            task_id="task", wrangled_dataset_id=7, wait_for_completion=False, **{name: "/tmp/x"}
        )


def test_paths_are_templated() -> None:
    operator = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=7, **dict.fromkeys(ARGUMENTS, "s3://bucket/{{ ds }}")
    )
    operator.render_template_fields({"ds": "2024-03-01"})  # type: ignore[typeddict-item]
    assert {getattr(operator, name) for name in ARGUMENTS} == {"s3://bucket/2024-03-01"}


def test_the_hook_brings_the_pdf_anywhere(emulator: Emulator, run: Any, folder: str) -> None:
    identity = run()
    target = TrifactaHook().get_job_group_pdf_results(identity, f"{folder}/profile.pdf")
    assert str(target).endswith("/profile.pdf")
    assert _read(f"{folder}/profile.pdf").startswith(b"%PDF")


# ----------------------------------------------------------------------------------------- what counts as a result

PDF = b"%PDF-1.7\nprofile\n%%EOF\n"
OF_PDF = ("profile_pdf_path", "/pdfResults")
OF_JSON = ("profile_json_path", "/profileResults")
WRONG = {
    "empty": b"",
    "blank": b" \n",
    "html": b"<html>Please log in</html>",
    "json-text": b'"later"',
    "json-list": b"[]",
    "null": b"null",
    "zip": b"PK\x03\x04",
    "late-signature": b"\n" * 1024 + PDF,
}


@pytest.fixture
def results(
    context: dict[str, Any],
    emulator: Emulator,
    connect: Callable[..., None],
    scripted: Callable[[Answer], ScriptedServer],
    run: Any,
) -> Callable[..., Any]:
    """Bring the results of a job group from a server that answers for them as the test says."""

    def bring(answer: Answer, clock: FakeClock, *, retry_budget: float = 0, **paths: Any) -> ScriptedServer:
        server = scripted(answer)
        connect(server.url, retry_budget=retry_budget)
        hook = TrifactaHook(clock=clock)
        run = OwnRun(hook, JOB_GROUPS, RunRef(90210), hook.log)
        save_results(run, ResultPaths.check(**paths), profile_required=False)
        return server

    return bring


def _always(status: int, body: bytes, **headers: str) -> Answer:
    return lambda path: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("content_type", ["application/pdf", "application/json", "application/octet-stream"])
@pytest.mark.parametrize("name", ["profile_pdf_path", "profile_json_path"])
def test_a_200_with_something_else_is_no_result(
    results: Any, clock: FakeClock, tmp_path: Path, name: str, content_type: str, body: bytes
) -> None:
    target = tmp_path / "result"
    target.write_text("of yesterday")
    with pytest.raises(TrifactaResultsNotSaved, match=r"expected a (PDF|JSON object), got "):
        results(_always(200, body, content_type=content_type), clock, **{name: target})
    assert target.read_text() == "of yesterday"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "body"),
    [("profile_pdf_path", b'{"data": []}'), ("profile_json_path", PDF), ("profile_json_path", b'{"7": {"a": ')],
    ids=["json-for-pdf", "pdf-for-json", "half-json"],
)
def test_a_result_of_the_other_kind_is_none(
    results: Any, clock: FakeClock, tmp_path: Path, name: str, body: bytes
) -> None:
    with pytest.raises(TrifactaResultsNotSaved, match=r"expected a (PDF|JSON object), got "):
        results(_always(200, body), clock, **{name: tmp_path / "result"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [PDF, b"\xef\xbb\xbf" + PDF, b"x" * 1000 + PDF], ids=["plain", "bom", "preamble"])
def test_a_pdf_is_told_by_its_signature(results: Any, clock: FakeClock, tmp_path: Path, body: bytes) -> None:
    results(_always(200, body, content_type="application/octet-stream"), clock, profile_pdf_path=tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == body


def test_what_comes_in_its_place_is_not_quoted(results: Any, clock: FakeClock, tmp_path: Path) -> None:
    with pytest.raises(TrifactaResultsNotSaved) as caught:
        results(_always(200, b'["Bearer token"]'), clock, profile_pdf_path=tmp_path / "a")
    assert "Bearer" not in str(caught.value)


@pytest.mark.parametrize(("name", "path", "body"), [(*OF_PDF, PDF), (*OF_JSON, b"{}")], ids=["pdf", "json"])
@pytest.mark.parametrize(
    "first",
    [(202, b""), (202, b'{"status": "rendering"}'), (204, b""), (200, b"")],
    ids=["202", "202-body", "204", "empty"],
)
def test_a_result_that_is_not_ready_is_waited_for(
    results: Any,
    clock: FakeClock,
    tmp_path: Path,
    name: str,
    path: str,
    body: bytes,
    first: tuple[int, bytes],
) -> None:
    answers = [*[(first[0], {}, first[1])] * 5, (200, {}, body)]
    server = results(lambda _: answers.pop(0), clock, retry_budget=900, **{name: tmp_path / "result"})
    assert (tmp_path / "result").read_bytes() == body
    assert len(server.requests) == 6
    assert all(path in request for request in server.requests)
    assert 0 < sum(clock.slept) < 900


@pytest.mark.parametrize("name", ["profile_pdf_path", "profile_json_path"])
@pytest.mark.parametrize("status", [202, 204])
def test_a_result_that_does_not_get_ready_is_said_to_be_missing(
    results: Any, clock: FakeClock, tmp_path: Path, name: str, status: int
) -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return status, {}, b""

    with pytest.raises(TrifactaResultsNotSaved, match=r"is Complete, but its .*(not ready|an empty answer)"):
        results(answer, clock, retry_budget=900, **{name: tmp_path / "result"})
    assert list(tmp_path.iterdir()) == []
    assert 600 < sum(clock.slept) <= 900, "until the budget is used up, and not for longer"
    assert len(asked) < 60, "with growing pauses"


@pytest.mark.parametrize("answer", [(202, b""), (200, b""), (200, b"{}"), (200, b"<html></html>")])
def test_the_hook_takes_nothing_else_for_a_pdf(
    connect: Callable[..., None],
    scripted: Callable[[Answer], ScriptedServer],
    clock: FakeClock,
    tmp_path: Path,
    answer: tuple[int, bytes],
) -> None:
    connect(scripted(_always(*answer)).url, retry_budget=60)
    with pytest.raises(TrifactaApiError):
        TrifactaHook(clock=clock).get_job_group_pdf_results(90210, tmp_path / "profile.pdf")
    assert list(tmp_path.iterdir()) == []
    assert sum(clock.slept) > 0


def test_the_list_of_outputs_is_utf_8(
    results: Any, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = {"files": [{"uri": "s3://bücket/🗑"}], "tables": []}
    monkeypatch.setattr(locale, "getencoding", lambda: "ascii")
    results(_always(200, json.dumps(outputs).encode()), clock, outputs_json_path=tmp_path / "outputs.json")
    assert json.loads((tmp_path / "outputs.json").read_bytes().decode("utf-8")) == outputs


# ------------------------------------------------------------------------------------------- whole or not at all


OBSTACLES: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda path: path.mkdir(),
    "a broken link": lambda path: path.symlink_to(path.parent / "gone"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a folder": lambda path: path.symlink_to(path.parent),
    "a pipe": lambda path: os.mkfifo(path),
    "the null device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("prefix", ["", "file://"], ids=["path", "url"])
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_is_no_file_is_not_replaced(
    run: Any, emulator: Emulator, tmp_path: Path, obstacle: str, prefix: str
) -> None:
    place = tmp_path / "place"
    OBSTACLES[obstacle](place)
    before = place.lstat()
    with pytest.raises(TrifactaConfigurationError, match=rf"outputs_json_path: '{place}' cannot be written: "):
        run(outputs_json_path=f"{prefix}{place}")
    assert emulator.journal == [], "said before anything is started"
    with pytest.raises(TrifactaConfigurationError, match=rf"path: '{place}' cannot be written: "):
        TrifactaHook().get_job_group_pdf_results(90210, f"{prefix}{place}")
    assert (place.lstat().st_mode, place.lstat().st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("path", ["file/x", "file/x/y/z", "gone/x", "x\0y", "x" * 300, "\ud800", "folder/"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_path_that_leads_nowhere_starts_nothing(
    run: Any, emulator: Emulator, tmp_path: Path, name: str, path: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "gone").symlink_to(tmp_path / "unmounted")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TrifactaConfigurationError, match=name):
        run(**{name: f"{tmp_path}/{path}"})
    assert emulator.journal == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_link_to_a_file_stays(run: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    run(outputs_json_path=link)
    assert link.is_symlink()
    assert "files" in json.loads(file.read_text())


def test_a_file_gets_the_permissions_of_any_new_one(run: Any, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run(outputs_json_path=tmp_path / "a" / "outputs.json", profile_pdf_path=f"file://{tmp_path}/profile.pdf")
    finally:
        os.umask(before)
    for file in (tmp_path / "a" / "outputs.json", tmp_path / "profile.pdf"):
        assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("there", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("prefix", ["", "file://"], ids=["path", "url"])
def test_a_full_disk_leaves_what_was_there(run: Any, tmp_path: Path, prefix: str, there: bool) -> None:
    target = tmp_path / "place" / "outputs.json"
    if there:
        target.parent.mkdir()
        target.write_text("of yesterday")
    # A file may have so many bytes: the limit stands for a disk that is full in the middle of one.
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    identity = run()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        hook = TrifactaHook()
        with pytest.raises(TrifactaResultsNotSaved, match=r"profile\.pdf.*File too large|File too large"):
            hook.get_job_group_pdf_results(identity, f"{prefix}{target}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert _tree(tmp_path) == ({"place/outputs.json": b"of yesterday"} if there else {})


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


_KILLED = """
import os, shutil, signal, sys
from airflow_provider_trifacta.airflow_support.files import save, target_of

def half_and_die(source, sink, *_):
    sink.write(source.read(5)); sink.flush(); os.kill(os.getpid(), signal.SIGKILL)

def fill(file):
    if sys.argv[2] == "fetch":
        half_and_die(open("/dev/zero", "rb"), file.open("wb"))
    file.write_bytes(b"0123456789")

shutil.copyfileobj = half_and_die
save(fill, target_of("path", sys.argv[1]))
"""


@pytest.mark.parametrize("prefix", ["", "file://"], ids=["path", "url"])
@pytest.mark.parametrize("moment", ["fetch", "copy"])
def test_a_killed_process_leaves_nothing_under_a_visible_name(tmp_path: Path, moment: str, prefix: str) -> None:
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    for made in (folder, scratch):
        made.mkdir()
    (folder / "file").write_text("of yesterday")
    died = subprocess.run(
        [sys.executable, "-c", _KILLED, f"{prefix}{folder}/file", moment],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (folder / "file").read_text() == "of yesterday"
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["file"]
    assert [path.name for path in scratch.iterdir() if not path.name.startswith(".")] == []


class UnreliableFileSystem(MemoryFileSystem):
    """Storage in memory whose connection breaks while a file is being written, as often as it is told to."""

    protocol = "unreliable"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    breaks = True

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return MemoryFileSystem._strip_protocol(str(path).removeprefix(f"{cls.protocol}://"))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file = super()._open(path, mode, **kwargs)
        if "w" in mode and self.breaks:
            write = file.write

            def half(data: bytes) -> int:
                write(data[: len(data) // 2])
                raise ConnectionResetError("the storage is gone")

            file.write = half
        return file


class BufferedFileSystem(UnreliableFileSystem):
    """Storage that is sent block by block, and shows on closing what has arrived, as fsspec's own files do."""

    protocol = "buffered"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    blocksize = 64

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "w" not in mode:
            return super()._open(path, mode, **kwargs)
        return _BufferedFile(self, self._strip_protocol(path), mode, block_size=self.blocksize)


class _BufferedFile(AbstractBufferedFile):
    def _initiate_upload(self) -> None:
        self.arrived = b""

    def _upload_chunk(self, final: bool = False) -> bool:
        if self.fs.breaks and not final and self.arrived:
            raise ConnectionResetError("the storage is gone")
        self.arrived += self.buffer.getvalue()
        if final:
            self.fs.store[self.path] = MemoryFile(self.fs, self.path, self.arrived)
        return True


class RenamingFileSystem(UnreliableFileSystem):
    """Storage that renames, as SFTP does."""

    protocol = "renaming"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        raise NotImplementedError


STORAGES = {cls.protocol: cls for cls in (UnreliableFileSystem, BufferedFileSystem, RenamingFileSystem)}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> Iterator[UnreliableFileSystem]:
    fsspec.register_implementation(request.param, STORAGES[request.param], clobber=True)
    # Airflow keeps what is attached.
    file_system = attach(request.param, fs=STORAGES[request.param]()).fs
    file_system.breaks = True
    yield file_system
    file_system.store.clear()
    file_system.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("there", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_broken_upload_leaves_what_was_there(
    run: Any, storage: UnreliableFileSystem, name: str, there: bool
) -> None:
    url, path = f"{storage.protocol}://bucket/folder [a*]/result", "/bucket/folder [a*]/result"
    if there:
        storage.store[path] = MemoryFile(storage, path, b"of yesterday")
    with pytest.raises(TrifactaResultsNotSaved, match=r"saved to .*result: ConnectionResetError: the storage is"):
        run(**{name: url})
    assert {path: file.getvalue() for path, file in storage.store.items()} == (
        {path: b"of yesterday"} if there else {}
    )
    storage.breaks = False
    run(**{name: url}, durable=False)
    assert list(storage.store) == [path]
    assert len(storage.store[path].getvalue()) > 2 * 64, "the upload has several blocks"


def test_the_hook_says_which_storage_cannot_be_written(run: Any, storage: UnreliableFileSystem) -> None:
    identity = run()
    url = f"{storage.protocol}://bucket/profile.pdf"
    with pytest.raises(TrifactaResultsNotSaved, match=r"path: .*bucket/profile\.pdf could not be written: Conn"):
        TrifactaHook().get_job_group_pdf_results(identity, url)
    assert storage.store == {}


def test_a_folder_in_a_storage_is_not_replaced(run: Any, storage: UnreliableFileSystem) -> None:
    storage.breaks = False
    storage.store["/bucket/folder/file"] = MemoryFile(storage, "/bucket/folder/file", b"of yesterday")
    with pytest.raises(TrifactaResultsNotSaved, match="folder is a folder"):
        run(outputs_json_path=f"{storage.protocol}://bucket/folder")
    assert list(storage.store) == ["/bucket/folder/file"]


def test_a_file_in_memory_is_no_folder(run: Any) -> None:
    memory = attach("memory", fs=MemoryFileSystem()).fs
    memory.pipe_file("/in-the-way/file", b"of yesterday")
    with pytest.raises(TrifactaResultsNotSaved, match=r"NotADirectoryError|FileExistsError"):
        run(outputs_json_path="memory://in-the-way/file/outputs.json")
    assert memory.find("/in-the-way") == ["/in-the-way/file"]


class ObjectStore(UnreliableFileSystem):
    """A store that takes a file in one request, under the protocol of one that does."""

    protocol: Any = ("s3", "s3a")
    store: ClassVar[dict[str, Any]] = {}

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        content = Path(lpath).read_bytes()
        if self.breaks:
            raise ConnectionResetError("the storage is gone")
        self.store[self._strip_protocol(rpath)] = MemoryFile(self, rpath, content)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise PermissionError("may only put objects")

    makedirs = mkdir = cp_file = rm_file = isdir = info = ls = _refuse


def test_a_store_that_takes_files_whole_needs_no_other_right(run: Any) -> None:
    store = attach("s3", fs=ObjectStore()).fs
    with pytest.raises(TrifactaResultsNotSaved, match="the storage is gone"):
        run(outputs_json_path="s3://bucket/outputs.json")
    assert store.store == {}
    store.breaks = False
    run(outputs_json_path="s3://bucket/outputs.json")
    assert [json.loads(file.getvalue())["tables"] for file in store.store.values()] == [[]]
