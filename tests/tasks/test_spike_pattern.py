"""Raster files and spike patterns: what is read and refused, silent costs, windows, what is scored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from rheobase.coding.spike_trains import van_rossum_cost
from rheobase.tasks.ras import read_raster
from rheobase.tasks.spike_pattern import SpikePattern

GOOD = "# two neurons\n0.0020 1\n\n0.0010 0  # late\n0.0010 1\n"


def written(folder: Path, text: str, name: str = "spikes.ras") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_reads_spikes_in_any_order(tmp_path: Path) -> None:
    raster = read_raster(Path(written(tmp_path, GOOD)))
    assert raster.times.tolist() == [1.0, 1.0, 2.0]
    assert raster.neurons.tolist() == [0, 1, 1]
    assert raster.lines.tolist() == [4, 5, 2]
    assert raster.size == 2
    train = raster.train(30, 3, 0.1)
    assert train.nonzero().tolist() == [[10, 0], [10, 1], [20, 1]]
    assert read_raster(Path(written(tmp_path, "0.5 1\n0.6 2\n")), first=1).neurons.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1 0\n0.2\n", r"spikes.ras, line 2: got '0.2', wanted a time in s and the number of a neuron"),
        ("0.1 0\nx 1\n", r"line 2: got 'x 1'"),
        ("0.1 0.5\n", r"line 1: got '0.1 0.5'"),
        ("nan 1\n", r"line 1: got 'nan 1'"),
        ("0.1 0 7\n", r"line 1: got '0.1 0 7'"),
        ("-0.1 0\n", r"line 1: got the time -0.1 s, wanted 0 s or later"),
        ("0.1 -1\n", r"line 1: got the neuron -1, wanted numbers from 0"),
        ("# nothing\n", r"spikes.ras: got no spikes, wanted lines such as"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_raster(Path(written(tmp_path, text)))


def test_spikes_out_of_range_are_named_with_a_remedy(tmp_path: Path) -> None:
    raster = read_raster(Path(written(tmp_path, "0.3 1\n0.0001 4\n")))
    with pytest.raises(
        ValueError, match=r"line 1: got 300 \(1 such spikes\), wanted times below 10 ms; raise the duration"
    ):
        raster.train(100, 5, 0.1)
    with pytest.raises(
        ValueError, match=r"line 2: got 4 .* wanted neurons 0 to 3; raise the number of neurons"
    ):
        raster.train(10_000, 4, 0.1)
    with pytest.raises(ValueError, match=r"line 1: got the neuron 0, wanted numbers from 1"):
        read_raster(Path(written(tmp_path, "0.3 0\n")), first=1)


def test_a_checksum_tells_another_file(tmp_path: Path) -> None:
    path = Path(written(tmp_path, GOOD))
    assert len(read_raster(path, checksum=hashlib.sha256(GOOD.encode()).hexdigest().upper()).times) == 3
    with pytest.raises(ValueError, match=r"wanted 00; fetch it again"):
        read_raster(path, checksum="00")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"got a file that is no text"):
        read_raster(path)


@pytest.mark.parametrize(
    ("pattern", "shape", "spikes", "wanted", "silent"),
    [("poisson", (5000, 100, 1), 232, 5, 40.30), ("oxford", (18_900, 200, 200), 1889, 10_367, 210.77)],
)
def test_bundled_patterns_and_the_cost_of_silence(
    pattern: str, shape: tuple[int, int, int], spikes: int, wanted: int, silent: float
) -> None:
    task = SpikePattern(pattern=pattern)  # type: ignore[arg-type]
    batch = task.splits().test.whole()
    steps, inputs, outputs = shape
    assert batch.inputs.shape == (1, 2 * steps, inputs)
    assert batch.targets.shape == (2 * steps, 1, outputs)
    assert int(batch.inputs[0, :steps].sum()) == spikes
    assert int(batch.targets[:steps].sum()) == wanted
    assert task.chance == pytest.approx(silent, abs=0.005)
    assert task.baselines() == {"silent": task.chance}


def test_the_printed_cost_of_silence_on_oxford_leaves_its_last_neuron_out() -> None:
    """The file counts neurons from 1; read as if from 0, as it stands, neuron 200 is none of the 200."""
    batch = SpikePattern(pattern="oxford").splits().test.whole()
    targets = batch.targets.clone()
    targets[:, :, 199] = 0.0
    cost = van_rossum_cost(torch.zeros_like(targets), targets, 0.1, mask=batch.mask)
    assert cost.item() == pytest.approx(210.65, abs=0.005)


def test_windows_run_on_through_the_repetition(tmp_path: Path) -> None:
    inputs = written(tmp_path, "0.001 0\n0.006 1\n", "in.ras")
    targets = written(tmp_path, "0.002 0\n", "out.ras")
    task = SpikePattern(inputs=inputs, targets=targets, duration=7.0, window=5.0, dt=1.0)
    assert (task.input_shape, task.outputs) == ((5, 2), 1)
    train = task.splits().train
    batch = train.batch(torch.arange(4))
    assert batch.inputs.reshape(20, 2).nonzero().tolist() == [[1, 0], [6, 1], [8, 0], [13, 1], [15, 0]]
    assert batch.targets.shape == (5, 4, 1)
    assert batch.targets.transpose(0, 1).flatten().nonzero().flatten().tolist() == [2, 9, 16]
    assert train.endless
    assert torch.equal(train.batch(torch.tensor([1001])).inputs, train.batch(torch.tensor([1001 + 7])).inputs)
    # Without a duration, up to the last spike, in whole 100 ms.
    assert SpikePattern(inputs=inputs, targets=targets).splits().test.whole().targets.shape[0] == 2 * 1000


def test_generated_patterns_have_the_rate_and_belong_to_their_seed() -> None:
    task = SpikePattern(pattern="generated", duration=1000.0, rate=10.0, target_times=(100.0, 300.0))
    batch = task.splits().test.whole()
    inputs = batch.inputs[0, :10_000]
    assert inputs.sum().item() == pytest.approx(1000, abs=4 * 1000**0.5)
    assert batch.targets[:10_000].flatten().nonzero().flatten().tolist() == [1000, 3000]
    other = task.replace(pattern_seed=1).splits().test.whole()
    assert not torch.equal(other.inputs, batch.inputs)


def test_what_is_reproduced_is_counted() -> None:
    task = SpikePattern(pattern="generated", duration=100.0, dt=1.0, target_times=(20.0, 60.0))
    targets, mask = task.splits().test.whole().targets, task.splits().test.whole().mask
    spikes = torch.zeros_like(targets)
    spikes[[5, 122, 190]] = 1.0  # the first is in the pass that does not count
    assert task.details(spikes, targets, mask) == {
        "matched": 1.0,
        "missed": 1.0,
        "extra": 1.0,
        "reproduced": 0.0,
    }
    assert task.details(targets, targets, mask)["reproduced"] == 1.0
    assert task.scoring.mean(targets, targets, mask) == 0.0


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got a file of inputs only, wanted both"):
        SpikePattern(inputs="in.ras")
    with pytest.raises(ValueError, match=r"got a checksum without files"):
        SpikePattern(inputs_sha256="00")
    with pytest.raises(
        ValueError, match=r"target_times: got 600 ms, wanted times below the duration of 500 ms"
    ):
        SpikePattern(pattern="generated", target_times=(600.0,)).splits()
    with pytest.raises(ValueError, match=r"wanted at most one spike a step"):
        SpikePattern(pattern="generated", rate=2e4).splits()
