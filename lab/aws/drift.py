"""Gaps of moto that would make a second plan show changes, or a destroy leave something, one function a gap."""

from __future__ import annotations

import copy
import json
from typing import Any

from moto.ec2.models.nat_gateways import NatGateway, NatGatewayBackend
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.s3.models import FakeDeleteMarker
from moto.secretsmanager.models import ReplicaSecret
from moto.sqs.models import Queue

from lab.aws.takeover import take_over, take_over_property


def mend_moto() -> None:
    """Apply them all."""
    queue_policies_without_blanks()
    launch_templates_without_their_own_tags()
    delete_markers_can_go()
    nat_gateways_take_their_interface_along()
    replicas_of_secrets_carry_its_tags()


def queue_policies_without_blanks() -> None:
    """moto writes a queue's redrive policy with other white space than it was given."""

    def attributes(queue: Queue) -> Any:
        found = original(queue)
        if queue.redrive_policy:
            found["RedrivePolicy"] = json.dumps(queue.redrive_policy, separators=(",", ":"))
        return found

    original = take_over_property(Queue, "attributes", attributes)


def launch_templates_without_their_own_tags() -> None:
    """moto answers a template's own tags among those for what it launches."""
    original = LaunchTemplates.describe_launch_template_versions

    def describe(response: LaunchTemplates) -> Any:
        answer = original(response)
        result: Any = copy.deepcopy(answer.result)
        for version in (result or {}).get("LaunchTemplateVersions", []):
            data = version["LaunchTemplateData"]
            if data.get("TagSpecifications"):
                data["TagSpecifications"] = [
                    t for t in data["TagSpecifications"] if t["ResourceType"] != "launch-template"
                ]
        answer._result = result  # noqa: SLF001 - moto has no public way
        return answer

    take_over(LaunchTemplates, "describe_launch_template_versions", describe)


def delete_markers_can_go() -> None:
    """Emptying a versioned bucket asks a delete marker to dispose of itself."""
    take_over(FakeDeleteMarker, "dispose", lambda *_a, **_k: None)


def nat_gateways_take_their_interface_along() -> None:
    """moto keeps a gateway's interface, and with it the address in the subnet, after the gateway is gone."""
    original = NatGatewayBackend.delete_nat_gateway

    def delete(backend: Any, nat_gateway_id: str) -> NatGateway:
        gateway: NatGateway = original(backend, nat_gateway_id)
        # A caller that heard nothing asks again.
        backend.enis.pop(gateway._eni.id, None)  # noqa: SLF001 - moto has no public way
        return gateway

    take_over(NatGatewayBackend, "delete_nat_gateway", delete)


def replicas_of_secrets_carry_its_tags() -> None:
    """moto's replicas have no tags of their own; AWS copies them."""
    take_over_property(ReplicaSecret, "tags", lambda replica: replica.source.tags)
