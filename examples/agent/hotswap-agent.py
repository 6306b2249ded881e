#!/usr/bin/python3
"""An agent of hotswap in Python, with psycopg 3: release directories and an atomic symlink.

    hotswap-agent.py CONFIG

CONFIG is a file of sh assignments, the same as for the agent in sh:
    HOTSWAP_NODE=...        the id of the node that register_node() has returned; required
    HOTSWAP_ROOT=/srv/shop  where releases/VERSION/artifact and the symlink current are; required
    HOTSWAP_RELOAD='...'    what makes the service run what current points to
    HOTSWAP_HEALTH='...'    succeeds when the service is well; tried every second
    HOTSWAP_HEALTH_TRIES=10 so often
    HOTSWAP_METRICS='...'   prints a JSON object with some of cpu, memory, latency_ms, requests,
                            errors, details: the arguments of heartbeat(), counted since it was
                            called before; without it there are no heartbeats
    HOTSWAP_EVERY=30        seconds between two heartbeats
    HOTSWAP_TIMEOUT=300     seconds that each of these commands, and a download, may take
libpq finds the database by PGHOST, PGUSER and so on, which may stand there as well.  Nothing is
substituted in a value.

What it does can be done twice: it may be killed at any moment, and finds what is there already.
SIGTERM ends it when it has no task in hand, and else after that.
In HOTSWAP_ROOT there must be nothing that somebody else changes.  A module has an agent of its own.
"""

import collections
import hashlib
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import psycopg

PIECE = 1_000_000  # bytes that are read at a time
MOST = 60  # seconds between two attempts to reach the server
DEFAULTS = {"RELOAD": "true", "HEALTH": "true", "HEALTH_TRIES": "10", "METRICS": "", "EVERY": "30",
            "TIMEOUT": "300"}

Task = collections.namedtuple(
    "Task", "task token lease_until action module version previous_version digest uri size settings")


class Failed(Exception):
    """The task cannot be done, and why."""


def say(text):
    print("hotswap-agent:", text, file=sys.stderr, flush=True)


def read_config(name):
    """The settings without their prefix; what else is assigned goes to the environment."""
    settings = dict(DEFAULTS)
    for word in shlex.split(pathlib.Path(name).read_text(), comments=True):
        key, is_assignment, value = word.partition("=")
        if is_assignment and key.startswith("HOTSWAP_"):
            settings[key.removeprefix("HOTSWAP_")] = value
        elif is_assignment:
            os.environ[key] = value
    return settings


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(PIECE):
            digest.update(block)
    return digest.hexdigest()


class Server:
    """A connection that is made when it is needed, and made again when it was lost."""

    def __init__(self):
        self.connection = None

    def query(self, text, *args, binary=False):
        """The first row, or None.  Raises psycopg.OperationalError when there is no connection."""
        try:
            if self.connection is None:
                self.connection = psycopg.connect(
                    autocommit=True, connect_timeout=10, keepalives_idle=30, keepalives_interval=10,
                    keepalives_count=3, tcp_user_timeout=MOST * 1000, prepare_threshold=None)
            return self.connection.execute(text, args, binary=binary).fetchone()
        except psycopg.OperationalError:
            self.close()
            raise

    def insist(self, text, *args, binary=False):
        """The same, for as long as the server is away."""
        delay = 1
        while True:
            try:
                return self.query(text, *args, binary=binary)
            except psycopg.OperationalError as error:
                if error.sqlstate is not None and not error.sqlstate.startswith(("08", "57P")):
                    raise
                delay = back_off(delay)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def back_off(delay):
    """Sleeps, longer each time, and not all agents at once.  Returns the next delay."""
    time.sleep(delay * (1 + random.random()))
    return min(2 * delay, MOST)


class Agent:
    def __init__(self, settings):
        self.settings = settings
        self.node = settings["NODE"]
        self.root = pathlib.Path(settings["ROOT"])
        self.current = self.root / "current"
        self.every = int(settings["EVERY"])
        self.timeout = int(settings["TIMEOUT"])
        self.server = Server()
        self.beaten = float("-inf")
        self.idle = False
        self.stopping = False

    # ---- the heartbeat ----

    def installed(self, made=None):
        """The digest of what runs, or of what another directory has."""
        artifact = (made or self.current) / "artifact"
        return digest_of(artifact) if artifact.is_file() else None

    def beat(self, server):
        """Says that the node is there, and how it is, when it is time."""
        if not self.settings["METRICS"] or time.monotonic() - self.beaten < self.every:
            return
        self.beaten = time.monotonic()
        try:
            metrics = subprocess.run(["sh", "-c", self.settings["METRICS"]], timeout=self.timeout,
                                     check=True, stdout=subprocess.PIPE, text=True).stdout
            server.query("""SELECT hotswap.heartbeat(%s, (m->>'cpu')::float8, (m->>'memory')::float8,
                (m->>'latency_ms')::float8, (m->>'requests')::bigint, (m->>'errors')::bigint, %s,
                m->'details') FROM (SELECT %s::jsonb) AS t (m)""", self.node, self.installed(), metrics)
        except (subprocess.SubprocessError, psycopg.Error) as error:
            say(f"no heartbeat: {error}")

    # ---- a task ----

    def keep(self, task, done, lost):
        """Keeps the lease while the task is worked on, and tells when that is to end."""
        third = max(1, self.left(task) / 3)
        server = Server()
        try:
            while not done.wait(third):
                row = server.insist("SELECT cancelled FROM hotswap.extend_task(%s, %s)",
                                    task.task, task.token)
                if row[0]:
                    break
                self.beat(server)
        except psycopg.Error:
            pass  # somebody else has it
        finally:
            lost.set()
            server.close()

    @staticmethod
    def left(task):
        return task.lease_until.timestamp() - time.time()

    def go_on(self, task, percent, progress):
        """Says how far the task is.  Raises Failed where it is not to be worked on any more."""
        row = self.server.insist("SELECT cancelled FROM hotswap.report_progress(%s, %s, %s, %s)",
                                 task.task, task.token, percent, progress)
        if row[0]:
            raise Failed("told to stop")

    def run(self, command, lost):
        """A command of the configuration; it is killed when the task is lost."""
        end = time.monotonic() + self.timeout
        with subprocess.Popen(["sh", "-c", command], start_new_session=True) as process:
            while process.poll() is None:
                if time.monotonic() > end or lost.is_set():
                    os.killpg(process.pid, signal.SIGTERM)
                    process.wait()
                try:
                    process.wait(0.1)
                except subprocess.TimeoutExpired:
                    pass
            return process.returncode == 0

    def release_of(self, version):
        """The directory of a version: any name, in hex."""
        return self.root / "releases" / version.encode().hex()

    def fetch(self, task):
        """Puts the artifact of the task into the directory of its version."""
        release = self.release_of(task.version)
        artifact = release / "artifact"
        if artifact.is_file() and digest_of(artifact) == task.digest:
            return release
        new = release.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        with open(new / "artifact", "wb") as file:
            for piece in self.download(task) if task.uri else self.pieces(task):
                file.write(piece)
        if digest_of(new / "artifact") != task.digest:
            raise Failed("the artifact is another one")
        shutil.rmtree(release, ignore_errors=True)
        new.rename(release)
        return release

    def download(self, task):
        end = time.monotonic() + self.timeout
        with urllib.request.urlopen(task.uri, timeout=30) as answer:
            while block := answer.read(PIECE):
                if time.monotonic() > end:
                    raise Failed("the artifact could not be fetched in time")
                yield block

    def pieces(self, task):
        for offset in range(0, task.size, PIECE):
            self.go_on(task, offset * 90 // task.size, f"{offset} of {task.size} bytes")
            yield self.server.insist("SELECT hotswap.read_artifact(%s, %s, %s, %s)", task.module,
                                     task.version, offset, PIECE, binary=True)[0]

    def reload(self, lost):
        if not self.run(self.settings["RELOAD"], lost):
            raise Failed("the service could not be reloaded")

    def check(self, task, lost):
        for tries in range(int(self.settings["HEALTH_TRIES"])):
            if tries > 0:
                self.go_on(task, 95, "waiting for the service to be well")
                time.sleep(1)
            if self.run(self.settings["HEALTH"], lost):
                return
        raise Failed("the service is not well")

    def activate(self, task, lost):
        release = self.fetch(task)
        self.go_on(task, 90, "switching")
        # one rename: whoever looks at current sees the one or the other
        new = self.root / "current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(release)
        new.replace(self.current)
        self.reload(lost)
        self.check(task, lost)

    def uninstall(self, task):
        """Takes away what lies beside, unless it runs after all."""
        release = self.release_of(task.version)
        if self.current.resolve() != release.resolve():
            shutil.rmtree(release, ignore_errors=True)
        return release

    def carry_out(self, task, lost):
        """Returns the directory of what is to be reported where that is not what runs."""
        if task.action == "install":
            return self.fetch(task)
        if task.action in ("activate", "revert"):
            self.activate(task, lost)
        elif task.action == "verify":
            self.check(task, lost)
        elif task.action == "remove":
            self.current.unlink(missing_ok=True)
            self.reload(lost)
        elif task.action == "uninstall":
            return self.uninstall(task)
        else:
            raise Failed(f"unknown action {task.action}")
        return None

    def work(self, task):
        done, lost = threading.Event(), threading.Event()
        keeper = threading.Thread(target=self.keep, args=(task, done, lost), daemon=True)
        keeper.start()
        failure = made = None
        try:
            made = self.carry_out(task, lost)
        except (Failed, OSError, psycopg.Error) as error:
            failure = str(error)
        say(f"{task.action} {task.module} {task.version}: {failure or 'done'}")
        try:
            self.server.insist("SELECT hotswap.complete_task(%s, %s, %s, %s, %s)", task.task, task.token,
                               failure is None, self.installed(made), failure)
        except psycopg.Error as error:
            say(f"somebody else has the task now: {error}")
        done.set()
        keeper.join(1)

    # ---- waiting ----

    def stop(self, *_):
        self.stopping = True
        if self.idle:
            raise SystemExit

    def look(self):
        """Waits for a task, and does it."""
        self.idle = True
        if self.stopping:
            return
        self.beat(self.server)
        ready = self.server.query("CALL hotswap.await_task(%s, %s)", self.node, f"{self.every} s")[0]
        self.idle = False
        row = ready and self.server.query("SELECT * FROM hotswap.claim_tasks(%s)", self.node)
        if row:
            self.work(Task(*row))

    def serve(self):
        (self.root / "releases").mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        say(f"waits for tasks of node {self.node}")
        delay = 1
        while not self.stopping:
            try:
                self.look()
                delay = 1
            except psycopg.Error as error:
                say(error)
                self.idle = True
                delay = back_off(delay)


if __name__ == "__main__":
    Agent(read_config(sys.argv[1])).serve()
