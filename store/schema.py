"""The tables of a lab, through SQLModel. What a reader of a table sees is described in ``store/rows.py``.

The migrations in ``store/migrations`` make them; a test holds the two together. Long texts stand in tables of
their own, so that a scan over jobs or trials reads few pages. Times are Unix seconds; JSON columns are text.
"""

from __future__ import annotations

from sqlalchemy import Index, MetaData, text
from sqlmodel import Field, SQLModel

REVISIONS = {1: "0001"}
"""The alembic revision of each schema."""

LIVE = "state IN ('queued', 'running', 'paused')"


class Base(SQLModel):
    """A registry of our own: other packages' tables stay out of it."""

    metadata = MetaData()


class Lab(Base, table=True):
    """Facts about the lab itself: its id, when it was made, whether it holds."""

    __tablename__ = "lab"
    key: str = Field(primary_key=True)
    value: str


class Study(Base, table=True):
    """A submitted study."""

    __tablename__ = "study"
    id: int | None = Field(default=None, primary_key=True)
    hash: str = Field(unique=True)
    """Of its name and sweeps: submitting it again finds the row."""
    name: str
    notes: str = ""
    tags: str = "[]"
    priority: int = 0
    created_at: float
    archived: bool = False
    spec: str


class Job(Base, table=True):
    """One search, with the summary that lists and kappa need."""

    __tablename__ = "job"
    __table_args__ = (
        Index("job_live", "state", text("priority DESC"), "position", sqlite_where=text(LIVE)),
        Index("job_hash", "hash", unique=True),
    )
    id: int | None = Field(default=None, primary_key=True)
    hash: str
    name: str
    state: str = "queued"
    wanted: str | None = None
    cancelled_from: str | None = None
    """The state before cancellation, for undo."""
    priority: int = 0
    position: float = 0.0
    attempt: int = 1
    crashes: int = 0
    max_attempts: int = 5
    not_before: float = 0.0
    """Backoff: not started before this time."""
    epoch: int | None = None
    """The supervisor that runs it."""
    task: str
    m: int | None = None
    model: str
    model_label: str
    format: str
    distribution: str
    length: int
    min_length: int
    strategy: str
    eps: float
    n_max: int
    trials_per_probe: int
    steps: int
    lo: int = 0
    hi: int | None = None
    status: str = "open"
    flags: str = "[]"
    best_loss: float | None = None
    candidates: int = 0
    current_n: int | None = None
    progress: float = 0.0
    device: str | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    deleted_at: float | None = None
    archived: bool = False
    wall_s: float = 0.0
    device_s: float = 0.0
    member_steps: int = 0
    estimate: str | None = None
    n50: str | None = None
    generalisation: float | None = None
    reason: str | None = None
    tags: str = "[]"
    notes: str = ""


class JobText(Base, table=True):
    """A job's long texts."""

    __tablename__ = "job_text"
    job_id: int | None = Field(default=None, primary_key=True, foreign_key="job.id")
    spec: str
    provenance: str = "{}"


class StudyJob(Base, table=True):
    """Which jobs a study asked for, in its order."""

    __tablename__ = "study_job"
    __table_args__ = (Index("study_job_job", "job_id"), {"sqlite_with_rowid": False})
    study_id: int = Field(primary_key=True, foreign_key="study.id")
    job_id: int = Field(primary_key=True, foreign_key="job.id")
    ordinal: int


class Cell(Base, table=True):
    """One kappa cell of a study."""

    __tablename__ = "cell"
    __table_args__ = (Index("cell_study", "study_id", "ordinal", unique=True),)
    id: int | None = Field(default=None, primary_key=True)
    study_id: int = Field(foreign_key="study.id")
    ordinal: int
    task: str
    m: int | None = None
    model: str
    model_label: str
    format: str
    distribution: str
    length: int
    min_length: int
    joint_job_id: int = Field(foreign_key="job.id")


class CellPart(Base, table=True):
    """A term of a cell's sum: the job that measures N*_n."""

    __tablename__ = "cell_part"
    __table_args__ = ({"sqlite_with_rowid": False},)
    cell_id: int = Field(primary_key=True, foreign_key="cell.id")
    n: int = Field(primary_key=True)
    job_id: int = Field(foreign_key="job.id", index=True)


class Probe(Base, table=True):
    """One candidate N of a job."""

    __tablename__ = "probe"
    __table_args__ = (
        Index("probe_job", "job_id", "ordinal", unique=True),
        # what is finished is never trained again: the file itself refuses a second verdict
        Index(
            "probe_once",
            "job_id",
            "n",
            "members",
            unique=True,
            sqlite_where=text("state IN ('running', 'interrupted', 'done')"),
        ),
        Index("probe_live", "state", sqlite_where=text("state IN ('running', 'interrupted')")),
    )
    id: int | None = Field(default=None, primary_key=True)
    job_id: int = Field(foreign_key="job.id")
    ordinal: int
    n: int
    members: str
    """Digest of its learning rates and seeds."""
    state: str = "running"
    verdict: bool | None = None
    speculative: bool = False
    turn: int | None = None
    """Its place in the sequential order of the evidence; None: no evidence (yet)."""
    epoch: int
    attempt: int
    device: str | None = None
    slot: str | None = None
    started_at: float
    ended_at: float | None = None
    wall_s: float = 0.0
    device_s: float = 0.0
    member_steps: int = 0
    trials: int
    trials_ended: int = 0
    step: int = 0
    fraction: float = 0.0
    best_loss: float | None = None
    seeds: int = 0
    successes: int = 0
    checkpoint: str | None = None
    checkpoint_step: int = 0
    plan: str = ""


class Trial(Base, table=True):
    """One training run; every one that was ever begun."""

    __tablename__ = "trial"
    __table_args__ = (
        Index("trial_probe", "probe_id", "lr", "seed", unique=True),
        # no trial counts twice, whatever the supervisor's memory says
        Index(
            "trial_once",
            "job_id",
            "n",
            "seed",
            "lr",
            unique=True,
            sqlite_where=text("outcome IN ('success', 'failure', 'diverged')"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    probe_id: int = Field(foreign_key="probe.id")
    job_id: int
    n: int
    lr: float
    seed: int
    outcome: str = "running"
    best_loss: float | None = None
    best_step: int = 0
    last_loss: float | None = None
    steps: int = 0
    wall_s: float = 0.0
    generalisation: float | None = None


class CurvePoints(Base, table=True):
    """A trial's thinned losses (``store/curves.py``)."""

    __tablename__ = "curve"
    trial_id: int | None = Field(default=None, primary_key=True, foreign_key="trial.id")
    points: bytes


class Event(Base, table=True):
    """Something that happened, written with the change it tells of."""

    __tablename__ = "event"
    __table_args__ = (Index("event_job", "job_id", "id", sqlite_where=text("job_id IS NOT NULL")),)
    id: int | None = Field(default=None, primary_key=True)
    at: float
    kind: str
    level: str = "info"
    job_id: int | None = None
    probe_id: int | None = None
    text: str = ""
    data: str = "{}"


class Device(Base, table=True):
    """A device, and what the user said of it."""

    __tablename__ = "device"
    id: str = Field(primary_key=True)
    name: str = ""
    slots: int = 1
    state: str = "active"
    note: str = ""


class Supervisor(Base, table=True):
    """Every supervisor that ever had the lab; the highest epoch has it now, or had it last."""

    __tablename__ = "supervisor"
    epoch: int | None = Field(default=None, primary_key=True)
    pid: int
    process_started: float
    host: str
    boot_id: str
    version: str
    started_at: float
    heartbeat_at: float
    state: str = "running"
    message: str = ""


class Command(Base, table=True):
    """A verb that somebody asked for."""

    __tablename__ = "command"
    __table_args__ = (Index("command_pending", "id", sqlite_where=text("state = 'pending'")),)
    id: int | None = Field(default=None, primary_key=True)
    at: float
    kind: str
    payload: str = "{}"
    state: str = "pending"
    result: str = ""
    finished_at: float | None = None


class Calibration(Base, table=True):
    """The engine's plan for a shape on a device."""

    __tablename__ = "calibration"
    shape: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    plan: str
    at: float


class Speed(Base, table=True):
    """Measured speed, for estimates."""

    __tablename__ = "speed"
    model_label: str = Field(primary_key=True)
    positions: int = Field(primary_key=True)
    device: str = Field(primary_key=True)
    member_steps_per_s: float
    at: float


METADATA: MetaData = Base.metadata
