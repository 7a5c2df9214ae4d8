"""HDF5 stores made to deceive: typed errors, quickly, and never a byte from outside the store.

Forged numbers in the documents of single files are in `containers/test_hdf5_file.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from cuebank.store import Corrupt, CuebankError, FeatureStore
from cuebank.store.compact import compact
from cuebank.store.containers.description import feature_set_attributes
from cuebank.store.containers.hdf5_packed import write_single
from cuebank.store.files import crc32c, render_json
from cuebank.store.verify import verify

SECRET = b"secret of another user"


@pytest.fixture
def container():
    """These tests are about the files of HDF5."""
    return "h5"


def look_at_all(path):
    """Read whatever can be read; return all of it as bytes, errors included. Nothing but typed errors may come out."""
    seen = []
    try:
        seen.append(repr(verify(path)))
        store = FeatureStore.open(path)
        seen.append(repr(store.info()))
        for name in store.feature_sets():
            for clip_id, entity_id, _ in store.series(name):
                try:
                    seen += [array.tobytes() for array in store.read(name, clip_id, entity_id)]
                except CuebankError as error:
                    seen.append(str(error))
            seen.append(repr(store.failures(name)))
    except CuebankError as error:
        seen.append(str(error))
    return b"".join(one.encode() if isinstance(one, str) else one for one in seen)


def test_links_in_place_of_files_and_folders_are_reported(small_store, layout):
    outside, place = small_store.parent / "outside", layout(small_store)
    for path in [place.root, *place.root.rglob("*")]:
        path.rename(outside)
        path.symlink_to(outside)
        with contextlib.suppress(CuebankError):
            assert not verify(small_store)["ok"], path.name
        path.unlink()
        outside.rename(path)
    assert verify(small_store)["ok"]


@pytest.mark.parametrize(
    "name",
    ["demo.x/segments/*.h5", "demo.x/segments", "demo.x", "demo.x/feature-set.h5", ""],
)
def test_links_out_of_the_store_are_not_followed(small_store, layout, name):
    outside, root = small_store.parent / "outside", layout(small_store).root
    path = min(root.glob(name)) if name else root
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(CuebankError):
        FeatureStore.open(small_store).read("demo.x", "c0")


def test_a_store_through_a_link_is_the_store_that_it_leads_to(small_store, quick_path):
    (quick_path / "elsewhere").mkdir()
    link = quick_path / "elsewhere" / "link.h5"
    link.symlink_to(small_store)
    assert len(FeatureStore.open(link).series("demo.x")) == 5
    assert verify(link)["ok"]


def test_external_links_that_lead_elsewhere_are_never_followed(small_store, layout, quick_path):
    """cuebank does not go by the links; `h5py` does, so they are made from the listing alone."""
    import h5py

    with h5py.File(quick_path / "other.h5", "w") as other:
        other["x"] = SECRET.decode()
    before = look_at_all(small_store)
    block = small_store.read_bytes()[:512]
    with h5py.File(small_store, "r+") as file:
        segments = file["demo.x/segments"]
        for name in list(segments):
            del segments[name]
            segments[name] = h5py.ExternalLink("../other.h5", "/")
        segments["00000009-aaaaaaaaaaaa-bbbbbbbb"] = h5py.ExternalLink(str(quick_path / "other.h5"), "/x")
        file["evil.x"] = h5py.ExternalLink("/etc/passwd", "/")
    data = small_store.read_bytes()
    small_store.write_bytes(block + data[512:])
    with FeatureStore.open(small_store) as store:
        assert store.feature_sets() == ["demo.x"]
        assert len(store.series("demo.x")) == 5
    assert any("links" in problem["problem"] for problem in verify(small_store)["problems"])
    assert SECRET not in look_at_all(small_store)
    small_store.unlink()  # what the report says: they are made anew
    with FeatureStore.open(small_store, "a") as store:
        store.record_failure("demo.x", "x", None, "anything")
        store.commit()
    with h5py.File(small_store) as file:
        links = [file["demo.x/segments"].get(name, getlink=True) for name in file["demo.x/segments"]]
        assert {link.filename.split("/")[0] for link in links} == {layout(small_store).root.name}
    assert verify(small_store)["ok"]
    assert len(before) < len(look_at_all(small_store))


def test_an_external_link_in_a_segment_is_never_followed(small_store, layout, quick_path):
    import h5py

    (quick_path / "raw").write_bytes(SECRET * 50)
    first = layout(small_store).bundles()[0]
    block = first.read_bytes()[:512]
    with h5py.File(first, "r+") as file:
        del file["values"]
        file.create_dataset("values", (22, 3), "f4", external=[(str(quick_path / "raw"), 0, 264)])
    data = first.read_bytes()
    first.write_bytes(block + data[512:])
    assert not verify(small_store)["ok"]
    assert SECRET not in look_at_all(small_store)


@pytest.mark.parametrize("kind", ["pipe", "folder", "empty", "text", "device"])
def test_something_else_in_place_of_a_file_does_not_hang_and_is_reported(small_store, layout, kind):
    aside = small_store.parent / "aside"
    for path in [file for file in layout(small_store).files() if file != small_store]:
        path.rename(aside)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(b"" if kind == "empty" else b"cuebank-hdf5 2 bundles 1 2 3\n" * 100)
        with contextlib.suppress(CuebankError):
            assert not verify(small_store)["ok"], path.name
        look_at_all(small_store)
        shutil.rmtree(path) if kind == "folder" else path.unlink()
        aside.rename(path)
    assert verify(small_store)["ok"]


@pytest.mark.parametrize(
    "kind",
    ["folder", "text", "pipe"],
)
def test_something_else_in_place_of_the_links_does_not_hang(small_store, kind):
    small_store.unlink()
    if kind == "pipe":
        os.mkfifo(small_store)
    elif kind == "folder":
        small_store.mkdir()
    else:
        small_store.write_text("precious")
    program = (
        "import sys; from cuebank.store import CuebankError, FeatureStore; from cuebank.store.verify import verify\n"
        "assert not verify(sys.argv[1])['ok']\n"
        "for mode in 'ra':\n"
        "    try: FeatureStore.open(sys.argv[1], mode); sys.exit(3)\n"
        "    except CuebankError: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", program, small_store], timeout=6, check=False).returncode == 0
    if kind == "text":
        assert small_store.read_text() == "precious"


@pytest.mark.parametrize("value", [-1, 2**62, 10**400, 1.5, "x", "1e999999999", "9" * 5000, None, True, [], {"a": {}}])
@pytest.mark.parametrize("field", ["dim", "dtype", "kind", "scope", "name", "recipe", "timebase", "rate_hz", "codec"])
def test_a_description_that_makes_no_sense_is_corrupt_though_its_checksums_agree(small_store, layout, field, value):
    if field == "timebase" and value is None:
        pytest.skip("no timebase is a description that makes sense")
    with FeatureStore.open(small_store) as store:
        own = json.loads(render_json(feature_set_attributes(store.spec("demo.x"))))
    target = own["spec"]["timebase"] if field == "rate_hz" else own["spec"]
    target[field] = value
    own["crc32c"] = crc32c(render_json(own["spec"]))
    file = layout(small_store).root / "demo.x" / "feature-set.h5"
    file.unlink()
    write_single(file, own, {})
    with pytest.raises(Corrupt):
        FeatureStore.open(small_store).spec("demo.x")
    assert not verify(small_store)["ok"]


def test_names_in_a_directory_that_lead_out_of_the_store_are_only_names(small_store, quick_path):
    """The directory of a single file names bundles; no name is ever used as a path of the file system."""
    from cuebank.store.containers.hdf5_file import Hdf5File
    from cuebank.store.containers.hdf5_layout import USER_BLOCK, Frame

    with FeatureStore.open(small_store, "a") as store:
        compact(store)
    file = Hdf5File(str(small_store), "x")
    data, bundles = small_store.read_bytes(), dict(file.bundles)
    (segment,) = (name for name in bundles if "/segments/" in name)
    (quick_path / "outside").write_bytes(SECRET)
    for name in (
        "../outside/segments/x",
        "..",
        "/etc/passwd",
        "demo.x/segments/../../../outside",
        f"../{segment}",
        "a\0b",
        "clips/../x",
        "demo.x/index/..",
        "%2e%2e",
    ):
        text = render_json({"format": 2, "bundles": {**bundles, name: bundles[segment]}})
        head = Frame(len(data), len(text), crc32c(text), 0, len(data) + len(text)).render()
        small_store.write_bytes(head + data[USER_BLOCK:] + text)
        assert not verify(small_store)["ok"]
        assert SECRET not in look_at_all(small_store)
        try:
            with FeatureStore.open(small_store, "a") as store:
                compact(store)
        except CuebankError:
            pass
        assert (quick_path / "outside").read_bytes() == SECRET
        shutil.rmtree(quick_path / (small_store.name + ".segments"), ignore_errors=True)
        assert not (quick_path.parent / "outside").exists()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_reported_not_raised(small_store, layout, number):
    """Under good checksums: `verify` reads it, and must not stumble over rendering it again."""
    from cuebank.store.containers import hdf5_builder

    with FeatureStore.open(small_store) as store:
        own = json.loads(render_json(feature_set_attributes(store.spec("demo.x"))))
    own["spec"]["recipe"]["seed"] = float(number)
    file = layout(small_store).root / "demo.x" / "feature-set.h5"
    file.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5_builder, "render_json", lambda document: json.dumps(document).encode() + b"\n")
        write_single(file, own, {})
    assert not verify(small_store)["ok"]
    with pytest.raises(Corrupt):
        FeatureStore.open(small_store).spec("demo.x")
