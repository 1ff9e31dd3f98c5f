"""What of the local AWS is out: a region's endpoints with all that stands behind them, or one service of a region."""

from __future__ import annotations

import threading

from lab.ports import RegionApi, RegionService

LOOK_S = 0.1


class Outages:
    """Nothing is out on a good day. Thread-safe."""

    def __init__(self) -> None:
        self._gone: dict[str, RegionApi] = {}
        self._stopped: frozenset[tuple[str, RegionService]] = frozenset()
        self._lock = threading.Lock()

    def set_region(self, region: str, api: RegionApi) -> None:
        """From now on."""
        with self._lock:
            if api is RegionApi.ANSWERS:
                self._gone.pop(region, None)
            else:
                self._gone[region] = api

    def set_service(self, region: str, service: RegionService, *, running: bool) -> None:
        """From now on; a region that is gone as a whole takes its services with it in any case."""
        with self._lock:
            one = {(region, service)}
            self._stopped = self._stopped - one if running else self._stopped | one

    def api_of(self, region: str) -> RegionApi:
        """What the region's endpoints do now."""
        return self._gone.get(region, RegionApi.ANSWERS)

    def gone(self, region: str) -> bool:
        """Whether nothing of AWS answers there."""
        return region in self._gone

    def out(self, region: str, service: RegionService) -> bool:
        """Whether the service does not work there."""
        return self.gone(region) or (region, service) in self._stopped

    def outlast_silence(self, region: str, down: threading.Event) -> None:
        """Return once the region is no longer silent, or the local AWS stops."""
        while self.api_of(region) is RegionApi.SILENT and not down.wait(LOOK_S):
            pass

    def sentences(self) -> list[str]:
        """What is out, for people."""
        regions = [
            f"AWS's endpoints in {region} are "
            + ("silent" if api is RegionApi.SILENT else "gone: connections are refused")
            for region, api in sorted(self._gone.items())
        ]
        names = {RegionService.EVENTS: "EventBridge", RegionService.LAMBDA: "Lambda"}
        services = [
            f"{names[service]} in {region} is stopped" for region, service in sorted(self._stopped)
        ]
        return [*regions, *services]
