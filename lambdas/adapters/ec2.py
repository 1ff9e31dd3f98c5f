"""EC2 of one region: what occupies the cluster's slots, and the few calls that change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.core.model import Instance, InstanceState, ScheduledEvent, Slot, Volume
from lambdas.errors import RegionSilentError

GONE = frozenset({"InvalidInstanceID.NotFound"})
DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
OVER = ("[Completed]", "[Canceled]")  # how EC2 marks events that will not come any more
# Whether the instance is impaired, whether a volume of it is, and what is announced.
Status = tuple[bool | None, bool | None, tuple[ScheduledEvent, ...]]
NO_WORD: Status = (None, None, ())


def tags_of(raw: dict[str, Any]) -> dict[str, str]:
    """Tags of an EC2 resource as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}


class Ec2:
    """One region's EC2, limited to one cluster by tag."""

    def __init__(self, client: Any, *, cluster: str, region: str) -> None:  # noqa: ANN401
        self._client, self._cluster, self._region = client, cluster, region

    def instances(self) -> tuple[Instance, ...]:
        """Every instance of the cluster that EC2 still shows. Raises RegionSilentError."""
        mine = [{"Name": "tag:pgmend:cluster", "Values": [self._cluster]}]
        try:
            pages = self._client.get_paginator("describe_instances").paginate(Filters=mine)
            raw = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
            said = self._statuses([i["InstanceId"] for i in raw if i["State"]["Name"] == "running"])
        except (BotoCoreError, ClientError) as error:
            raise RegionSilentError(f"EC2 in {self._region} did not answer: {error}") from error
        found = []
        for item in raw:
            tags = tags_of(item)
            impaired, disk_impaired, events = said.get(item["InstanceId"], NO_WORD)
            found.append(
                Instance(
                    instance_id=item["InstanceId"],
                    slot=tags.get("pgmend:slot", ""),
                    region=self._region,
                    state=InstanceState(item["State"]["Name"]),
                    launched_at=item["LaunchTime"].timestamp(),
                    impaired=impaired,
                    hands_off=tags.get("pgmend:hands-off") == "true",
                    instance_type=item.get("InstanceType"),
                    events=events,
                    disk_impaired=disk_impaired,
                    first_launched_at=_first_launched_at(item),
                )
            )
        return tuple(found)

    def _statuses(self, ids: list[str]) -> dict[str, Status]:
        """Instance id → impaired, a volume impaired (None while EC2 has no verdict), and what AWS has announced."""
        if not ids:
            return {}
        try:
            said = self._client.describe_instance_status(InstanceIds=ids)["InstanceStatuses"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise
            # EC2 has forgotten one of them meanwhile: all are asked for, and the others found among them.
            pages = self._client.get_paginator("describe_instance_status").paginate()
            said = [item for page in pages for item in page["InstanceStatuses"]]
        return {
            item["InstanceId"]: (_verdict(item), _disk_verdict(item), _events(item))
            for item in said
            if item["InstanceId"] in ids
        }

    def volumes(self, *, changes: bool = True) -> tuple[Volume, ...]:
        """The cluster's volumes, current ones and those that were set aside. Raises RegionSilentError.

        `changes`: also ask how far their last changes are.
        """
        filters = [
            {"Name": "tag:pgmend:cluster", "Values": [self._cluster]},
            {"Name": "tag:pgmend:disk", "Values": ["current", "quarantined"]},
        ]
        try:
            pages = self._client.get_paginator("describe_volumes").paginate(Filters=filters)
            raw = [v for page in pages for v in page["Volumes"]]
        except (BotoCoreError, ClientError) as error:
            raise RegionSilentError(f"EC2 in {self._region} did not answer: {error}") from error
        said = self._modifications([v["VolumeId"] for v in raw]) if changes else {}
        return tuple(self._volume(item, said.get(item["VolumeId"])) for item in raw)

    def _modifications(self, ids: list[str]) -> dict[str, str]:
        """Volume id → the state of its last change; absent when there was none, or while EC2 does not say.

        Raises RegionSilentError when it may not be asked: nobody would see that otherwise.
        """
        if not ids:
            return {}
        mine = [{"Name": "volume-id", "Values": ids}]
        try:
            answer = self._client.describe_volumes_modifications(Filters=mine)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in DENIED:
                why = f"EC2 in {self._region} does not let changes of volumes be seen: {error}"
                raise RegionSilentError(why) from error
            return {}  # EC2 itself refuses a change too soon after another
        changes = answer["VolumesModifications"]
        return {change["VolumeId"]: str(change["ModificationState"]) for change in changes}

    @staticmethod
    def _volume(raw: dict[str, Any], modification: str | None) -> Volume:
        tags = tags_of(raw)
        held = [a for a in raw.get("Attachments", []) if a.get("State") != "detached"]
        return Volume(
            volume_id=raw["VolumeId"],
            slot=tags.get("pgmend:slot", ""),
            state=raw["State"],
            attached_to=held[0]["InstanceId"] if held else None,
            attachment_state=held[0]["State"] if held else None,
            size_gib=raw.get("Size"),
            modification=modification,
            set_aside=tags.get("pgmend:disk") == "quarantined",
        )

    def launch(
        self, slot: Slot, *, action_id: str, incident: str, instance_type: str | None = None
    ) -> str:
        """Start the slot's next occupant; the same action id starts it only once. The instance id.

        `instance_type` is None for the launch template's own.
        """
        tags = {
            "Name": slot.name,
            "pgmend:cluster": self._cluster,
            "pgmend:slot": slot.name,
            "pgmend:role": slot.role.value,
            "pgmend:incident": incident,
        }
        answer = self._client.run_instances(
            LaunchTemplate={
                "LaunchTemplateId": slot.launch_template_id,
                "Version": slot.launch_template_version,
            },
            NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": slot.interface_id}],
            MinCount=1,
            MaxCount=1,
            ClientToken=action_id,
            TagSpecifications=[{"ResourceType": "instance", "Tags": _tag_list(tags)}],
            **({} if instance_type is None else {"InstanceType": instance_type}),
        )
        return str(answer["Instances"][0]["InstanceId"])

    def create_volume(self, slot: Slot, *, action_id: str, size_gib: int | None = None) -> str:
        """Make the slot's disk; the same action id makes it only once. The volume id.

        `size_gib` is None for the spec's own size.
        """
        if slot.disk is None:
            raise ValueError(f"slot {slot.name} has no disk in the spec")
        tags = {
            "Name": slot.name,
            "pgmend:cluster": self._cluster,
            "pgmend:slot": slot.name,
            "pgmend:role": slot.role.value,
            "pgmend:disk": "current",
        }
        extra: dict[str, Any] = {}
        if slot.disk.kms_key_id:
            extra["KmsKeyId"] = slot.disk.kms_key_id
        answer = self._client.create_volume(
            AvailabilityZone=slot.zone,
            Size=slot.disk.size_gib if size_gib is None else size_gib,
            VolumeType=slot.disk.type,
            Iops=slot.disk.iops,
            Throughput=slot.disk.throughput_mibs,
            Encrypted=True,
            ClientToken=action_id,
            TagSpecifications=[{"ResourceType": "volume", "Tags": _tag_list(tags)}],
            **extra,
        )
        return str(answer["VolumeId"])

    def attach(self, *, volume_id: str, instance_id: str) -> None:
        """Give a free volume to a running instance."""
        self._client.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")

    def start(self, instance_id: str) -> None:
        """Start a stopped instance."""
        self._client.start_instances(InstanceIds=[instance_id])

    def reboot(self, instance_id: str) -> None:
        """Reboot an instance in place; EC2 forces it after some minutes."""
        self._client.reboot_instances(InstanceIds=[instance_id])

    def stop(self, instance_id: str, *, force: bool) -> None:
        """Stop an instance, without asking its operating system when forced."""
        self._client.stop_instances(InstanceIds=[instance_id], Force=force)

    def set_aside(self, volume_id: str) -> None:
        """Mark a volume as out of use. It is never deleted, and no slot's disk any more."""
        tags = {"pgmend:disk": "quarantined"}
        self._client.create_tags(Resources=[volume_id], Tags=_tag_list(tags))

    def grow(self, volume_id: str, *, size_gib: int) -> None:
        """Enlarge a volume online. EC2 allows one change in six hours."""
        self._client.modify_volume(VolumeId=volume_id, Size=size_gib)

    def terminate(self, instance_id: str) -> None:
        """End an instance; ending one that is gone is no error."""
        try:
            self._client.terminate_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise

    def delete_volume(self, volume_id: str) -> None:
        """Delete a free volume (the lifecycle function only)."""
        self._client.delete_volume(VolumeId=volume_id)

    def snapshot(self, volume_id: str, *, description: str) -> str:
        """Begin a snapshot; the snapshot id."""
        tags = {"pgmend:cluster": self._cluster, "Name": description}
        answer = self._client.create_snapshot(
            VolumeId=volume_id,
            Description=description,
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": _tag_list(tags)}],
        )
        return str(answer["SnapshotId"])


def _first_launched_at(item: Mapping[str, Any]) -> float | None:
    """When its primary interface was attached: EC2's LaunchTime begins anew with every start."""
    for interface in item.get("NetworkInterfaces", ()):
        attachment = interface.get("Attachment", {})
        if attachment.get("DeviceIndex") == 0 and "AttachTime" in attachment:
            return float(attachment["AttachTime"].timestamp())
    return None


def _verdict(raw: dict[str, Any]) -> bool | None:
    """Whether EC2 calls the instance impaired; None while it has no verdict."""
    states = {raw[check]["Status"] for check in ("InstanceStatus", "SystemStatus")}
    if "impaired" in states:
        return True
    return False if states == {"ok"} else None


def _disk_verdict(raw: dict[str, Any]) -> bool | None:
    """Whether a volume of the instance is unreachable or ends no I/O; None while EC2 has no verdict, or makes none."""
    status = raw.get("AttachedEbsStatus", {}).get("Status")
    return {"impaired": True, "ok": False}.get(status)


def _events(raw: dict[str, Any]) -> tuple[ScheduledEvent, ...]:
    """What is still to come; EC2 lists what is over for a while."""
    return tuple(
        ScheduledEvent(code=event["Code"], not_before=event["NotBefore"].timestamp())
        for event in raw.get("Events", [])
        if not str(event.get("Description", "")).startswith(OVER) and "NotBefore" in event
    )


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
