"""Find Level-1b granules, local or at a URL, and group them to scans by their names alone; without satpy.

Sources: GOES-R PUG vol. 3 (ABI), Himawari Standard Data user's guide 1.3 (AHI), KMA's GK-2A AMI Level 1B guide (AMI),
EUMETSAT MTG FCI L1c and MSG SEVIRI Level 1.5 product guides (FCI, SEVIRI): names of files.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import SATELLITES

BLOCK_BYTES = 256 * 1024  # that a remote file is read in: one tile of a full disk costs a few percent of its bytes
_TOGETHER = timedelta(seconds=10)  # bands of one scan begin within a second; mesoscale scans follow after 30


@dataclass(frozen=True)
class Reader:
    """The names of the files that one of satpy's readers takes."""

    name: str  # satpy's
    pattern: str  # regular, with groups start, and where names say so platform, scene, band and segment
    start: str  # format of the group start
    segments: int = 1  # strips that a full disk is cut into, in separate files
    from_south: bool = False  # the first segment and the scan begin in the south
    options: tuple[tuple[str, Any], ...] = ()  # for satpy's reader
    streams: bool = False  # satpy reads it in place at a URL; other files are fetched whole


_CLIP = (("clip_negative_radiances", True),)  # else a cold cloud in the 3.9 um band has no temperature
READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "abi_l1b",
            r"OR_ABI-L1b-Rad(?P<scene>[FC]|M[12])-M\d+C(?P<band>\d\d)_(?P<platform>G\d\d)_s(?P<start>\d{13})\d_.+\.nc",
            "%Y%j%H%M%S",
            options=_CLIP,
            streams=True,
        ),
        Reader(
            "ahi_hsd",
            r"HS_(?P<platform>H\d\d)_(?P<start>\d{8}_\d{4})_B(?P<band>\d\d)_(?P<scene>\w{4})_R\d\d_"
            r"S(?P<segment>\d\d)\d\d\.DAT(\.bz2)?",
            "%Y%m%d_%H%M",
            segments=10,
        ),
        Reader(
            "ami_l1b",
            r"(?P<platform>gk2\w)_ami_le1b_(?P<band>[a-z]{2}\d{3})_(?P<scene>[a-z]{2})\d{3}\w*_(?P<start>\d{12})\.nc",
            "%Y%m%d%H%M",
            options=_CLIP,
            streams=True,
        ),
        Reader(
            "fci_l1c_nc",
            r".+,(?P<platform>MTI\d)\+.+-1C-RRAD-(FDHSI|HRFI)-.+-BODY-.+_(?P<start>\d{14})_\d{14}_[^_]*_[^_]*_[^_]*_"
            r"(?P<scene>\d{4})_(?P<segment>\d{4})\.nc",
            "%Y%m%d%H%M%S",
            segments=40,
            from_south=True,
            options=_CLIP,
        ),
        Reader(
            "seviri_l1b_native",
            r"(?P<platform>MSG\d)-SEVI-MSG15-\d{4}-NA-(?P<start>\d{14}).+\.nat",
            "%Y%m%d%H%M%S",
            from_south=True,
        ),
    )
}
# How names of files call satellites -> their names here
_PLATFORMS = {"H08": "H8", "H09": "H9", "gk2a": "GK2A", "MTI1": "MTG1"}
_AMI_BANDS = "vi004 vi005 vi006 vi008 nr013 nr016 sw038 wv063 wv069 wv073 ir087 ir096 ir105 ir112 ir123 ir133".split()


@dataclass(frozen=True)
class Granule:
    """One file, known by its name."""

    place: str  # path or URL
    size: int  # bytes
    reader: str  # satpy's
    platform: str = ""  # the satellite, by our name where it is known, else as the file's name calls it
    scene: str = ""  # the part of the disk, such as 'F' or 'M1'; of FCI the repeat cycle
    start: datetime = datetime.min  # of the scan, UTC, nominal where scans have one
    band: int | None = None  # 1-based; None where a file holds all
    segment: int = 0  # from 1, in the order of the scan; 0 where scans are not cut

    @property
    def name(self) -> str:
        """The file's name."""
        return self.place.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Scan:
    """The granules of one scan of one scene by one satellite."""

    granules: tuple[Granule, ...]

    @property
    def start(self) -> datetime:
        """The start of the earliest granule, UTC."""
        return min(granule.start for granule in self.granules)

    @property
    def reader(self) -> Reader:
        """The reader of its files."""
        name = self.granules[0].reader
        return READERS.get(name) or Reader(name, "", "")

    @property
    def title(self) -> str:
        """Satellite, scene and time, in words."""
        first = self.granules[0]
        return f"{first.platform or first.reader} {first.scene} {self.start:%Y-%m-%d %H:%M:%S}"

    def select(self, bands: Iterable[int] | None = None, rows: tuple[float, float] | None = None) -> "Scan":
        """The granules with those bands (1-based) and rows (parts of the full disk, 0 north to 1 south), or all."""
        wanted, reader = None if bands is None else set(bands), self.reader
        kept = [one for one in self.granules if wanted is None or one.band is None or one.band in wanted]
        is_one_piece = reader.name == "ahi_hsd" and self.granules[0].scene != "FLDK"  # Japan and target areas
        if rows is not None and reader.segments > 1 and not is_one_piece:
            low, high = (1 - rows[1], 1 - rows[0]) if reader.from_south else rows
            first, last = int(low * reader.segments) + 1, int(high * reader.segments) + 1
            kept = [one for one in kept if first <= one.segment <= last]
        return Scan(tuple(kept))

    def require(self, bands: Iterable[int] | None) -> "Scan":
        """As `select`; InputError where none of the bands is there."""
        found = self.select(bands)
        if not found.granules:
            raise InputError(f"{self.title} holds none of bands {', '.join(map(str, sorted(bands or ())))}")
        return found


def is_url(place: str) -> bool:
    """Tell if a place is a URL, not a path."""
    return re.match(r"[a-z][a-z0-9+]+://", place) is not None


def file_system(url: str) -> tuple[Any, str]:
    """Fsspec's file system of a URL, buckets anonymously, and the path in it; InputError where it cannot be had."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url, **({"anon": True} if url.startswith("s3://") else {}))
    except (ImportError, ValueError) as error:
        raise InputError(
            f"'{url}' cannot be opened ({error}); pip install 'satxlate-jax[l1b]', in a clone -e '.[l1b]'"
        ) from error


def _list(place: str) -> list[tuple[str, int]]:
    """Files and sizes that a file, a folder, a pattern or a URL of one means."""
    if is_url(place):
        system, path = file_system(place)
        try:
            found = system.glob(path, detail=True) if any(letter in path for letter in "*?[") else {}
            found = found or system.find(path, detail=True)
        except Exception as error:  # every kind of file system has errors of its own
            raise InputError(f"'{place}' cannot be listed ({' '.join(str(error).split()) or error!r})") from error
        return [(system.unstrip_protocol(name), int(info["size"])) for name, info in found.items()]
    local = Path(place)
    files = [local] if local.is_file() else local.rglob("*") if local.is_dir() else local.parent.glob(local.name)
    return [(str(file), file.stat().st_size) for file in sorted(files) if file.is_file()]


def recognise(place: str, size: int = 0, reader: str | None = None) -> Granule | None:
    """A file by its name; None where no reader knows it. With `reader` one of satpy's others takes any name."""
    if reader and reader not in READERS:
        return Granule(place, size, reader)
    name = place.rsplit("/", 1)[-1]
    known = [READERS[reader]] if reader else READERS.values()
    found = next(((one, match) for one in known if (match := re.fullmatch(one.pattern, name))), None)
    if found is None:
        return None
    known_as, parts = found[0], found[1].groupdict()
    try:
        start = datetime.strptime(parts["start"], known_as.start)
    except ValueError:
        return None
    if known_as.name == "fci_l1c_nc":  # names tell the start of a chunk; a repeat cycle takes ten minutes
        start = start.replace(hour=0, minute=0, second=0) + timedelta(minutes=10 * (int(parts["scene"]) - 1))
    elif known_as.name == "seviri_l1b_native":  # names tell the end; a repeat cycle takes fifteen minutes
        start = start.replace(minute=start.minute // 15 * 15, second=0)
    band, segment = parts.get("band"), int(parts.get("segment") or 0)
    number = None if not band else int(band) if band.isdecimal() else 0
    if band in _AMI_BANDS:
        number = _AMI_BANDS.index(band) + 1
    platform = _PLATFORMS.get(parts["platform"], parts["platform"])
    return Granule(place, size, known_as.name, platform, parts.get("scene") or "", start, number, segment)


def find_granules(inputs: Sequence[str], reader: str | None = None) -> tuple[list[Granule], list[tuple[str, str]]]:
    """The granules among files, folders, patterns and URLs, each once, and (place, reason) of each file that is none.

    `reader` is satpy's name of one; default by the names of the files. InputError where an input does not exist, or
    there is no granule among all.
    """
    granules: dict[str, Granule] = {}
    strange = []
    for place in inputs:
        listed = _list(place)
        if not listed:
            fault = "holds no file" if not is_url(place) and Path(place).is_dir() else "does not exist"
            raise InputError(f"'{place}' {fault}; give Level-1b files, folders or URLs")
        for file, size in listed:
            granule = recognise(file, size, reader)
            if granule is None:
                reason = "its name is not that of a Level-1b file; name its reader with --reader"
                strange.append((file, "is an L1G tile; give it without granules" if parse_name(Path(file)) else reason))
            elif granule.platform and granule.platform not in SATELLITES:
                strange.append((file, f"is of {granule.platform}, which instruments.py does not know"))
            else:
                granules.setdefault(granule.name, granule)
    if not granules:
        raise InputError(
            f"no Level-1b file in {', '.join(map(repr, inputs))}" + (f": {strange[0][1]}" if strange else "")
        )
    return list(granules.values()), strange


def group_scans(granules: Iterable[Granule]) -> list[Scan]:
    """Group granules to scans by reader, satellite, scene and start, sorted by time.

    A scan with a segment missing inside is two.
    """
    kind = attrgetter("reader", "platform", "scene")
    groups: list[list[Granule]] = []
    for granule in sorted(granules, key=lambda one: (*kind(one), one.start, one.segment)):
        first = groups[-1][0] if groups else None
        if first and kind(first) == kind(granule) and granule.start - first.start < _TOGETHER:
            groups[-1].append(granule)
        else:
            groups.append([granule])
    scans = []
    for group in groups:
        runs: list[list[Granule]] = []
        for granule in sorted(group, key=lambda one: (one.segment, one.band or 0)):
            if runs and granule.segment - runs[-1][-1].segment <= 1:
                runs[-1].append(granule)
            else:
                runs.append([granule])
        scans += [Scan(tuple(run)) for run in runs]
    return sorted(scans, key=lambda scan: scan.start)
