"""The queue of messages on a real Redis: filled with the change it tells of, kept until somebody delivered it."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
import redis
import standardwebhooks

from adapter.config import Settings
from adapter.errors import Unprocessable
from adapter.models import JobError
from adapter.redis_store import MESSAGES
from adapter.store import Patch, Records
from adapter.webhooks import LEASE_MS, RETRY_SECONDS, Attempt, Message, Messages, Webhook, check_secret
from tests.adapter.test_store import create, remains, spec
from tests.receiver import SECRET

HERE = Webhook("https://example.com/hook", SECRET)
FAILED = Attempt(False, 500, "the receiver answered 500")


@pytest.fixture
def messages(client: redis.Redis) -> Messages:
    return Messages(client, Settings())


def told(records: Records, digest: str = "sha256:1", webhook: Webhook | None = HERE, *, owner: str = "anna") -> str:
    return records.create(owner, spec(digest), b"support", 100, webhook=webhook).id


def finish(records: Records, model_id: str, error: JobError | None = None, *, owner: str = "anna") -> None:
    claim = records.claim(f"{owner}/{model_id}")
    assert claim is not None
    assert records.fail(claim, error) if error else records.finish(claim, 1, "{}")


def put_forward(messages: Messages, message: Message) -> float:
    """Make it due now; how long it would have taken, in seconds."""
    due = messages.client.zscore(MESSAGES, message.id)
    seconds, micro = messages.client.time()
    messages.client.zadd(MESSAGES, {message.id: 0})
    return (due - (1000 * seconds + micro / 1000)) / 1000


def test_ready_is_told_once(records: Records, messages: Messages) -> None:
    model_id = told(records)
    assert messages.due(10) == []
    finish(records, model_id)
    [message] = messages.due(10)
    assert (message.owner, message.model, message.version, message.status) == ("anna", model_id, 1, "ready")
    assert json.loads(message.body)["data"]["error"] is None
    assert messages.due(10) == [], "somebody has it"
    kept = [f"{MESSAGES}:{message.id}", f"il:anna:messages:{model_id}"]
    assert [0 < messages.client.ttl(name) <= 7 * 86_400 for name in kept] == [True, True]
    assert messages.note(message, Attempt(True, 200), 0) == "delivered"
    assert messages.client.keys(f"{MESSAGES}*") == []
    assert not messages.client.exists(kept[1])
    records.request_restore(records.get("anna", model_id))
    finish(records, model_id)
    assert messages.due(10) == [], "adapting evicted weights again is nobody's business"


def test_failed_is_told_with_its_reason(records: Records, messages: Messages) -> None:
    finish(records, told(records), JobError("adaptation_diverged", "the loss is not finite"))
    [message] = messages.due(10)
    said = json.loads(message.body)
    assert said["type"] == "model.failed"
    assert said["data"]["error"] == {"code": "adaptation_diverged", "detail": "the loss is not finite"}


def test_a_job_that_killed_its_workers_is_told_too(records: Records, messages: Messages) -> None:
    records.settings.lease_seconds = 0.001
    model_id = told(records)
    for _ in range(records.settings.max_attempts + 1):
        records.claim(f"anna/{model_id}")
        time.sleep(0.01)
    [message] = messages.due(10)
    assert json.loads(message.body)["data"]["error"]["code"] == "worker_died"


def test_versions_are_told(records: Records, messages: Messages) -> None:
    model_id = told(records)
    finish(records, model_id)
    records.grow(records.get("anna", model_id), spec("sha256:2"), b"support")
    finish(records, f"{model_id}.2")
    records.grow(records.get("anna", model_id), spec("sha256:3"), b"support", quality="{}")
    found = sorted((m.model, m.version, m.status) for m in messages.due(10))
    assert found == [(model_id, n, "ready") for n in (1, 2, 3)]


def test_the_same_content_again_tells_every_url(records: Records, messages: Messages) -> None:
    """Two who asked for the same model are both told; whoever asks after it was ready is told at once."""
    model_id = told(records)
    assert told(records, webhook=Webhook("https://example.org/other", SECRET)) == model_id
    assert told(records, webhook=None) == model_id
    finish(records, model_id)
    assert {m.url for m in messages.due(10)} == {HERE.url, "https://example.org/other"}
    assert told(records) == model_id
    assert [m.url for m in messages.due(10)] == [HERE.url]


def test_a_message_of_somebody_who_died_is_handed_out_again(records: Records, messages: Messages) -> None:
    finish(records, told(records))
    [message] = messages.due(10)
    assert put_forward(messages, message) == pytest.approx(LEASE_MS / 1000, abs=2)
    assert messages.due(10) == [message]


def test_retries_until_it_is_given_up(records: Records, messages: Messages) -> None:
    model_id = told(records)
    finish(records, model_id)
    bodies: set[str] = set()
    waited: list[float] = []
    for n in range(len(RETRY_SECONDS)):
        [message] = messages.due(10)
        bodies.add(message.body)
        assert messages.note(message, FAILED, 0) == "retrying", n
        waited.append(put_forward(messages, message))
    assert waited == pytest.approx(RETRY_SECONDS, abs=2)
    [message] = messages.due(10)
    assert messages.note(message, FAILED, 0) == "gave_up"
    assert messages.client.keys(f"{MESSAGES}*") == []
    assert len(bodies) == 1
    shown = [e.delivery for e in records.events("anna", model_id) if e.delivery]
    assert [d.outcome for d in shown] == ["retrying"] * len(RETRY_SECONDS) + ["gave_up"]
    assert [d.attempt for d in shown] == list(range(1, len(RETRY_SECONDS) + 2))
    assert {(d.message, d.url, d.http_status, d.detail) for d in shown} == {(message.id, HERE.url, 500, FAILED.detail)}


def test_what_the_receiver_asks_for_is_waited(records: Records, messages: Messages) -> None:
    finish(records, told(records))
    [message] = messages.due(10)
    messages.note(message, Attempt(False, 503, wait_seconds=600), 0)
    assert put_forward(messages, message) == pytest.approx(600, abs=2)
    [again] = messages.due(10)
    messages.note(again, Attempt(False, 503, wait_seconds=600), 1)
    assert put_forward(messages, again) == pytest.approx(660, abs=2), "those that failed together part"


def test_the_last_attempt_may_deliver(records: Records, messages: Messages) -> None:
    finish(records, told(records))
    [message] = messages.due(10)
    messages.client.hset(f"{MESSAGES}:{message.id}", "attempts", len(RETRY_SECONDS))
    put_forward(messages, message)
    [last] = messages.due(10)
    assert messages.note(last, Attempt(True, 200), 0) == "delivered"


ENDS = [Attempt(True, 200), Attempt(False, 410, final=True)]


@pytest.mark.parametrize("end", ENDS)
def test_of_a_message_that_is_gone_nothing_comes_back(records: Records, messages: Messages, end: Attempt) -> None:
    """Handed out twice, ended by one and failed for the other."""
    model_id = told(records)
    finish(records, model_id)
    [message] = messages.due(10)
    assert messages.note(message, end, 0) != "retrying"
    for late in (FAILED, *ENDS):
        assert messages.note(message, late, 0) is None
    assert messages.client.keys(f"{MESSAGES}*") == []
    assert len([e for e in records.events("anna", model_id) if e.delivery]) == 1


def test_two_failures_of_one_attempt_count_once(records: Records, messages: Messages) -> None:
    finish(records, told(records))
    [message] = messages.due(10)
    assert messages.note(message, FAILED, 0) == "retrying"
    assert messages.note(message, FAILED, 0) is None
    put_forward(messages, message)
    [again] = messages.due(10)
    assert again.attempts == 1
    assert messages.note(message, Attempt(True, 200), 0) == "delivered", "late, but it arrived"
    assert messages.client.keys(f"{MESSAGES}*") == []


@pytest.mark.parametrize("odd", [{"attempts": "1"}, {"version": "one"}, {"surprise": "x"}])
def test_a_message_that_cannot_be_read_is_dropped(
    records: Records, messages: Messages, odd: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Those beside it are handed out."""
    finish(records, told(records))
    for field, value in odd.items():
        messages.client.hset(f"{MESSAGES}:msg_odd", field, value)
    messages.client.zadd(MESSAGES, {"msg_odd": 0})
    [message] = messages.due(10)
    assert message.url == HERE.url
    assert "msg_odd" in caplog.text
    kept = {MESSAGES.encode(), f"{MESSAGES}:{message.id}".encode()}
    assert set(messages.client.keys(f"{MESSAGES}*")) == kept
    assert messages.client.zrange(MESSAGES, 0, -1) == [message.id.encode()], "handed out again each minute"


def test_the_same_content_again_is_told_once_until_it_is_delivered(records: Records, messages: Messages) -> None:
    model_id = told(records)
    finish(records, model_id)
    [first] = messages.due(10)
    assert messages.note(first, Attempt(True, 200), 0) == "delivered"
    for _ in range(3):
        told(records)
    [again] = messages.due(10)
    assert again.model == model_id
    assert messages.note(again, Attempt(True, 200), 0) == "delivered"
    told(records)
    assert len(messages.due(10)) == 1


def test_a_model_tells_ten_urls(records: Records, messages: Messages) -> None:
    """Another one is refused and changes nothing; one of the ten may come again."""
    model_id = told(records)
    for n in range(9):
        told(records, webhook=Webhook(f"https://example.com/{n}", SECRET))
    key, model = f"il:anna:webhooks:{model_id}", f"il:anna:model:{model_id}"
    hooks, record = messages.client.hgetall(key), messages.client.hgetall(model)
    assert len(hooks) == 10
    eleventh = Webhook("https://example.com/10", SECRET)
    with pytest.raises(Unprocessable, match="as many addresses as it may"):
        records.create(
            "anna", spec(), b"support", 5000, name="later", idempotency_key="k", fingerprint="f", webhook=eleventh
        )
    assert (messages.client.hgetall(key), messages.client.hgetall(model)) == (hooks, record)
    assert not messages.client.keys("il:anna:idempotency:*")
    told(records, webhook=Webhook(HERE.url, SECRET[:-4] + "b3Ro"))
    changed = messages.client.hgetall(key)
    assert changed.keys() == hooks.keys()
    assert changed[HERE.url.encode()] != hooks[HERE.url.encode()]
    finish(records, model_id)
    assert len(messages.due(100)) == 10
    with pytest.raises(Unprocessable):
        told(records, webhook=eleventh)
    assert messages.due(100) == []


def test_an_owner_leaves_as_many_places_as_they_take(records: Records, messages: Messages) -> None:
    for owner in ("anna", "bob", "eve"):
        urls = [f"https://{owner}-{n}.example/" for n in range(8)]
        [model_id] = {told(records, webhook=Webhook(url, SECRET), owner=owner) for url in urls}
        finish(records, model_id, owner=owner)
        time.sleep(0.002)  # due in this order: within one millisecond chance decides
    under_way = messages.due(8)
    assert [m.owner for m in under_way] == 4 * ["anna"] + 2 * ["bob"] + ["eve"]
    time.sleep(0.02)
    assert messages.due(1, under_way=[m.id for m in under_way]) == [], "left for somebody else"


def test_what_an_owner_has_no_place_for_takes_none_of_a_receivers(records: Records, messages: Messages) -> None:
    def told_all(owner: str, digest: str, urls: list[str]) -> None:
        [model_id] = {told(records, digest, Webhook(url, SECRET), owner=owner) for url in urls}
        finish(records, model_id, owner=owner)

    told_all("anna", "sha256:1", [f"https://silent-{n}.example/" for n in range(4)])
    under_way = [message.id for message in messages.due(8)]
    assert len(under_way) == 4
    told_all("anna", "sha256:2", [f"https://shared.example/{n}" for n in range(9)])
    told_all("bob", "sha256:3", ["https://shared.example/"])
    assert [message.owner for message in messages.due(4, share=8, under_way=under_way)] == ["bob"]


def test_a_final_refusal_is_not_tried_again(records: Records, messages: Messages) -> None:
    finish(records, told(records))
    [message] = messages.due(10)
    assert messages.note(message, Attempt(False, 410, final=True), 0) == "gave_up"
    assert messages.due(10) == []


def test_a_deleted_model_leaves_nothing_behind(records: Records, messages: Messages) -> None:
    model_id = told(records)
    finish(records, model_id)
    [message] = messages.due(10)
    records.delete("anna", model_id)
    messages.note(message, Attempt(True, 200), 0)
    assert remains(records) == []
    assert messages.client.keys(f"{MESSAGES}*") == []


def test_of_a_deleted_model_nobody_is_told(records: Records, messages: Messages) -> None:
    """Neither first nor again; of another one of the same owner they are, and of one that expired."""
    other = told(records, "sha256:2")
    finish(records, other)
    [message] = messages.due(10)
    messages.note(message, FAILED, 0)
    model_id = told(records)
    finish(records, model_id)
    [put_off] = messages.due(10)
    messages.note(put_off, FAILED, 0)
    told(records, webhook=Webhook("https://example.org/other", SECRET))
    records.delete("anna", model_id)
    assert messages.client.zrange(MESSAGES, 0, -1) == [message.id.encode()]
    assert messages.client.keys(f"{MESSAGES}:msg_*") == [f"{MESSAGES}:{message.id}".encode()], "a secret stays"
    messages.client.hset(f"il:anna:model:{other}", "expires_ms", 1)
    messages.client.delete(f"il:anna:events:{other}")
    put_forward(messages, message)
    [again] = messages.due(10)
    assert again.model == other
    messages.note(again, FAILED, 0)
    assert not messages.client.exists(f"il:anna:events:{other}"), "it would have no end"


def test_webhooks_live_as_long_as_their_model(records: Records, messages: Messages) -> None:
    model_id = told(records)
    records.patch("anna", model_id, spec().digest, Patch(ttl_seconds=1000), None)
    assert messages.client.pttl(f"il:anna:webhooks:{model_id}") > 900_000
    create(records, ttl=5000)
    assert messages.client.pttl(f"il:anna:webhooks:{model_id}") > 4_000_000
    told(records)
    assert messages.client.pttl(f"il:anna:webhooks:{model_id}") > 4_000_000


def test_signatures_are_those_of_the_standard() -> None:
    """The example of the specification's own libraries, and verification by one of them."""
    message = Message("msg_1", "anna", "mdl_1", 1, "ready", 0, "", "https://x", SECRET, 0)
    now = datetime.now(UTC)
    headers = message.headers(now)
    assert standardwebhooks.Webhook(SECRET).verify(message.body, headers)["type"] == "model.ready"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(message.body.replace("ready", "failed"), headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook("whsec_" + "b3RoZXIh" * 4).verify(message.body, headers)


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_of_the_standards_shape_are_taken(size: int) -> None:
    check_secret("whsec_" + base64.b64encode(b"x" * size).decode())


BARE = "YWFh" * 8


@pytest.mark.parametrize("secret", ["", BARE, "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "whsec_" + "YWFh" * 22])
def test_secrets_of_another_shape_are_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        check_secret(secret)
