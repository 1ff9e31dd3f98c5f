"""Orders that fail half-way, and words that nobody could read: what people are told of them."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from lambdas.core.model import Mode
from lambdas.people.cli import main
from tests.adapters.lambdas.desk import REGION, Desk, Failing, an_incident


def refusal(code: str, status: int) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "TransactWriteItems")


TIMED_OUT = ReadTimeoutError(endpoint_url="https://dynamodb.eu-west-3.amazonaws.com/")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TIMED_OUT, "whether the order was written is not known: look at heal-status"),
        (refusal("InternalServerError", 500), "is not known: look at heal-status"),
        (refusal("AccessDeniedException", 400), "; nothing was written"),
    ],
    ids=["no answer", "a failure of AWS's", "refused"],
)
def test_an_order_that_fails_says_whether_it_was_written(
    desk: Desk, capsys: pytest.CaptureFixture[str], error: Exception, words: str
) -> None:
    desk.dynamodb = Failing(error, at_the_order=True)
    assert main(["pause", "--why", "disks"], hub=desk.hub()) == 1
    read = capsys.readouterr()
    assert read.out == ""
    assert words in read.err
    assert desk.waker.woken == []


def test_an_order_that_was_written_is_confirmed_though_nothing_can_be_read_any_more(
    desk: Desk,
) -> None:
    desk.dynamodb = Failing(TIMED_OUT, at_the_order=False)
    lines = desk.says("pause", "--why", "disks").splitlines()
    assert lines[0].startswith("mode is observe")
    assert lines[1] == "The healer is awake and looks now."
    assert lines[2].startswith("Note: the order is written; what holds the healer could not be")
    assert desk.table.state().mode is Mode.OBSERVE


def test_a_list_of_windows_that_nobody_can_read_is_told_and_written_anew(desk: Desk) -> None:
    item = {"pk": {"S": "CLUSTER"}, "sk": {"S": "windows"}, "windows": {"S": "{"}}
    client: Any = boto3.client("dynamodb", region_name=REGION)
    client.put_item(TableName="pgmend", Item=item)
    assert "without end: the list of windows cannot be read" in desk.says("status")
    desk.says("window", "--for", "1h", "--why", "kernel")
    assert [w.why for w in desk.table.state().windows] == ["kernel"]


def test_a_reason_of_several_lines_is_kept_as_one(desk: Desk) -> None:
    desk.says("pause", "--why", "new disks\nfor  db-euw1-a ")
    assert "(new disks for db-euw1-a)" in desk.says("status")


@pytest.mark.parametrize("why", ["a\x1b[2Jb", "a\udcffb", "a\x00b", "x" * 501], ids=ascii)
@pytest.mark.parametrize(
    "order", ["pause --off", "window --for 1h", "switchover", "roll", "ack"], ids=str
)
def test_a_reason_that_no_terminal_can_show_is_refused(desk: Desk, order: str, why: str) -> None:
    """Everybody's status would be unreadable, or fail, from then on."""
    desk.table.save_incident(an_incident(held="ladder"))
    desk.is_refused(*order.split(), "--why", why)
