"""The loop in one process: what it writes, that it goes on as if nothing had happened, and when it stops."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.checkpoints import load, save
from masklet.errors import DeviceError, DivergedError, InputError, MaskletError, MaskletWarning, OutputError
from masklet.io.palette import write_index_png
from masklet.train import watch
from masklet.train.feed import Feed
from masklet.train.folder import alone_in
from masklet.train.loop import Pace, Run, _join_processes, _usual_workers, begin, resume
from masklet.train.pictures import compare
from masklet.train.recipe import Share, Source, Synthetic, load_recipe, save_recipe
from masklet.train.rollout import Annotator
from masklet.train.saved import for_use, saved_model
from tiny_training import CONVNET, HIERA, clip_recipe, stills_recipe, write_clip, write_stills

PACE = Pace(save_every=2, print_every=1, workers=0)


pytestmark = pytest.mark.usefixtures("no_torchrun")


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    return write_stills(tmp_path_factory.mktemp("data") / "stills", 6)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_model_that_loads(stills, tmp_path):
    model = Run.begin(stills_recipe(stills, 4), tmp_path / "run", PACE).train()
    save(model, tmp_path / "model.safetensors", torch.float16)
    loaded = load(tmp_path / "model.safetensors", device="cpu")
    assert loaded.config == CONVNET
    pixels = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode(pixels).stride16, model.encode(pixels).stride16, atol=2e-2, rtol=2e-2)


def test_folders_may_be_named_as_text(stills, tmp_path):
    folder = str(tmp_path / "run")
    assert begin(stills_recipe(stills, 2), folder, PACE) == Path(folder) / "model.safetensors"
    assert resume(folder, PACE) == Path(folder) / "model.safetensors"
    assert saved_model(folder)[1] == "2 of 2 steps"
    assert load_recipe(str(tmp_path / "run" / "recipe.json")) == stills_recipe(stills, 2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16 encoder"])
def test_resuming_repeats_the_very_same_steps(stills, tmp_path, precision):
    recipe = replace(stills_recipe(stills, 6), precision=precision)
    whole = Run.begin(recipe, tmp_path / "whole", PACE).train()
    halted = Run.begin(recipe, tmp_path / "halted", PACE)
    take_a_step = halted._optimise

    def halt(drawn, stage, rate):
        if halted.step == 5:  # in the second stage, one step after the last that was saved
            raise KeyboardInterrupt
        return take_a_step(drawn, stage, rate)

    halted._optimise = halt
    with pytest.raises(KeyboardInterrupt):
        halted.train()
    resumed = Run.resume(tmp_path / "halted", PACE)
    assert resumed.step == 4
    model = resumed.train()
    assert losses(tmp_path / "halted") == losses(tmp_path / "whole")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_ctrl_c_within_a_step_loses_nothing(stills, tmp_path, capsys):
    recipe = stills_recipe(stills, 6)
    Run.begin(recipe, tmp_path / "whole", PACE).train()
    halted = Run.begin(recipe, tmp_path / "halted", PACE)
    take_a_step = halted._optimise

    def press(drawn, stage, rate):
        if halted.step == 2:  # the second state is saved, the third would not be
            signal.raise_signal(signal.SIGINT)
        return take_a_step(drawn, stage, rate)

    halted._optimise = press
    with pytest.raises(KeyboardInterrupt):
        halted.train()
    assert "Ctrl-C once more" in capsys.readouterr().err
    resumed = Run.resume(tmp_path / "halted", PACE)
    assert resumed.step == 3
    resumed.train()
    assert losses(tmp_path / "halted") == losses(tmp_path / "whole")


def test_ctrl_c_while_the_data_are_opened_comes_at_once(stills, tmp_path, monkeypatch):
    run = Run.begin(stills_recipe(stills, 2), tmp_path, PACE)

    def press(*_):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr("masklet.train.loop.Feed", press)
    with pytest.raises(KeyboardInterrupt):
        run.train()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended otherwise")
def test_a_request_to_end_that_reaches_the_workers_too_loses_nothing(stills, tmp_path, monkeypatch):
    """As a service manager sends it: to every process of a group, from outside, where PyTorch's workers mind it."""
    run = Run.begin(stills_recipe(stills, 20), tmp_path, replace(PACE, save_every=100, workers=1))
    take_a_step = run._optimise

    def end(drawn, stage, rate):
        if run.step == 3:
            for worker in multiprocessing.active_children():
                subprocess.run(["kill", str(worker.pid)], check=True)
            time.sleep(1)
            signal.raise_signal(signal.SIGINT)
        return take_a_step(drawn, stage, rate)

    monkeypatch.setattr(run, "_optimise", end)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert Run.resume(tmp_path, PACE).step == 4
    assert not multiprocessing.active_children()


def test_a_folder_holds_one_run(stills, tmp_path):
    Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    with pytest.raises(MaskletError, match="holds a run already"):
        Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    with pytest.raises(InputError, match=r"nothing.recipe\.json"):
        Run.resume(tmp_path / "nothing", PACE)


@pytest.mark.parametrize("left", ["model.safetensors", "best.safetensors", "log.jsonl", "held-out.jsonl"])
def test_what_a_run_left_is_not_written_over(stills, tmp_path, left):
    (tmp_path / left).write_bytes(b"of months ago")
    with pytest.raises(MaskletError, match=rf"or what it left \({left}\); train into another folder"):
        Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    assert {file.name for file in tmp_path.iterdir()} == {left}


def test_a_run_does_not_lie_among_its_data(tmp_path):
    stills = write_stills(tmp_path / "stills", 2)
    before = sorted(tmp_path.rglob("*"))
    for folder in (stills, tmp_path):
        with pytest.raises(InputError, match=r"holds the data .*stills; train into a folder of its own"):
            Run.begin(stills_recipe(stills, 2), folder, PACE)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_process_at_a_time_trains_in_a_folder(stills, tmp_path):
    run = Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    with alone_in(tmp_path), pytest.raises(MaskletError, match="is being trained by another process: wait for its end"):
        run.train()
    Run.resume(tmp_path, PACE).train()
    assert len(losses(tmp_path)) == 2
    (tmp_path / "other").mkdir()
    with alone_in(tmp_path / "other"), pytest.raises(MaskletError, match="is being trained by another process"):
        Run.begin(stills_recipe(stills, 2), tmp_path / "other", PACE)
    assert not [*(tmp_path / "other").iterdir()]


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_where_there_are_no_locks_a_run_goes_on_with_a_word(stills, tmp_path, monkeypatch, error):
    monkeypatch.setattr("masklet.train.folder.FileLock.acquire", Mock(side_effect=error))
    with pytest.warns(MaskletWarning, match=r"a file system without locks \([^)]*(No locks|no flock)"):
        Run.begin(stills_recipe(stills, 2), tmp_path, PACE).train()
    assert len(losses(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_is_no_want_of_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "masklet.train.folder.FileLock.acquire", Mock(side_effect=PermissionError(13, "Permission denied"))
    )
    with pytest.raises(OutputError, match=r"cannot write .*\.lock: Permission denied"), alone_in(tmp_path):
        pass


def test_a_run_that_has_ended_says_so(stills, tmp_path, capsys):
    Run.begin(stills_recipe(stills, 2), tmp_path, PACE).train()
    assert "has come to its end" not in capsys.readouterr().out
    Run.resume(tmp_path, PACE).train()
    assert capsys.readouterr().out.startswith(f"{tmp_path} has come to its end, after 2 steps: to train on")


def test_the_callers_own_chance_goes_on(stills, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = torch.rand(1)
    run = Run.begin(stills_recipe(stills, 2), tmp_path / "run", PACE)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)
    again = Run.begin(stills_recipe(stills, 2), tmp_path / "again", PACE)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_a_run_that_cannot_begin_leaves_nothing_behind(stills, tmp_path):
    with pytest.raises(DeviceError, match="'cuda:77' is not available here"):
        Run.begin(stills_recipe(stills, 2), tmp_path / "run", PACE, "cuda:77")
    with pytest.raises(InputError, match="set lora_rank to 0"):
        Run.begin(replace(stills_recipe(stills, 2), lora_rank=2), tmp_path / "run", PACE)
    assert not (tmp_path / "run").exists()


def test_what_can_be_seen_before_a_run_is_seen_before_it(stills, tmp_path):
    (tmp_path / "file").write_text("neither a font nor a folder")
    recipe = stills_recipe(stills, 2)
    scenes = Synthetic((Source(str(stills)),), font=str(tmp_path / "file"))
    part = replace(recipe.stages[0].parts[0], sources=(scenes,))
    with pytest.raises(InputError, match=r"file"):
        Run.begin(replace(recipe, stages=(replace(recipe.stages[0], parts=(part,)),)), tmp_path / "run", PACE)
    assert not (tmp_path / "run").exists()
    with pytest.raises(OutputError, match=r"file is a file; name a folder"):
        Run.begin(recipe, tmp_path / "file", PACE)
    assert (tmp_path / "file").is_file()


def test_masks_that_do_not_fit_their_pictures_are_named_before_a_run_begins(stills, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(stills, data)
    turned, coloured, *_ = sorted(data.glob("*.png"))
    write_index_png(turned, np.ones((3, 5), np.uint8))
    Image.new("RGB", (64, 64)).save(coloured)
    with pytest.raises(InputError) as caught:
        Run.begin(stills_recipe(data, 2), tmp_path / "run", PACE)
    assert not (tmp_path / "run").exists()
    first, second = str(caught.value).splitlines()
    assert f"{turned.name}: the mask is 5 x 3 pixels" in first and f"{coloured.name} is a RGB picture" in second


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_says_what_takes_less(stills, tmp_path, monkeypatch, error):
    run = Run(stills_recipe(stills, 2), tmp_path, PACE)
    monkeypatch.setattr(run, "batch_loss", Mock(side_effect=error))
    with pytest.raises(MaskletError, match=r"cpu ran out of memory at step 0: lower clips and objects in .*recipe"):
        run.train()


@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch hears of killed workers by a signal")
def test_a_worker_that_was_killed_is_told(stills, tmp_path, monkeypatch):
    """In the midst of a step, as it mostly happens."""
    run = Run(stills_recipe(stills, 2), tmp_path, replace(PACE, workers=1))

    def killed_meanwhile(*_, **__):
        for worker in multiprocessing.active_children():
            worker.kill()
        time.sleep(20)

    monkeypatch.setattr(run, "_optimise", killed_meanwhile)
    with pytest.raises(MaskletError, match=r"was killed, .* --shm-size 2g\): resume with fewer workers"):
        run.train()


def test_a_state_that_another_process_reads_is_replaced_a_little_later(stills, tmp_path, monkeypatch):
    """Windows refuses in the meantime."""
    run = Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    refusals = iter([PermissionError(13, "in use")] * 2)
    replace_now = os.replace

    def replace_later(new, path):
        for error in refusals:
            raise error
        replace_now(new, path)

    monkeypatch.setattr(os, "replace", replace_later)
    monkeypatch.setattr("masklet.train.loop.REPLACEMENT_SECONDS", 0.0)
    run.train()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


def test_each_process_takes_a_gpu_of_its_own_and_misses_it_in_time(stills, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "77")
    monkeypatch.setenv("LOCAL_RANK", "77")
    with pytest.raises(DeviceError, match="'cuda:77' is not available here"):
        Run(stills_recipe(stills, 2), tmp_path, PACE, "cuda")
    with pytest.raises(InputError, match="a GPU of its own: name the device cuda, not cuda:0"):
        Run(stills_recipe(stills, 2), tmp_path, PACE, "cuda:0")


@pytest.mark.parametrize(
    ("device", "nccl", "expected"), [("cuda", True, "nccl"), ("cuda", False, "gloo"), ("cpu", True, "gloo")]
)
def test_processes_speak_by_gloo_where_there_is_no_nccl(monkeypatch, device, nccl, expected):
    """As on Windows."""
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    gpus, joined = [], []
    monkeypatch.setattr("masklet.train.loop.choose_device", lambda device: device)
    monkeypatch.setattr("torch.cuda.set_device", gpus.append)
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: nccl)
    monkeypatch.setattr("torch.distributed.init_process_group", joined.append)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 5)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 8)
    assert _join_processes(device) == (5, 8)
    assert joined == [expected]
    assert gpus == ["cuda:1"] * (device == "cuda")


def test_processes_share_what_sessions_do_and_draw_the_rest_apart(stills, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "masklet.train.loop.BatchLoss.forward",
        lambda self, batch, part, stage, chance: (
            drawn.append((chance.plans.integers(1 << 30), chance.clicks.integers(1 << 30))),
            (self.model.no_mem_embed.sum(), {}),
        )[1],
    )
    run = Run(stills_recipe(stills, 2), tmp_path, PACE)
    batch = Feed(run.recipe.stages[0], 0, tmp_path / "cache")[0]
    for run.rank in (0, 1):
        run._forward_backward(*batch, run.recipe.stages[0], 0)
    (plan, click), (other_plan, other_click) = drawn
    assert plan == other_plan and click != other_click


def test_one_worker_shares_the_processor_and_several_feed_a_gpu(monkeypatch):
    monkeypatch.setattr("masklet.train.loop.num_cores", lambda: 12)
    assert [_usual_workers(torch.device(kind)) for kind in ("cpu", "cuda", "mps")] == [1, 8, 8]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert _usual_workers(torch.device("cuda")) == 3


def test_a_run_that_met_a_bad_mask_goes_on_once_it_is_mended(stills, tmp_path):
    """The error says how: the run has begun, so that the same command would be refused."""
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(stills, data)
    (bad,) = sorted(data.glob("*.png"))[:1]
    good = bad.read_bytes()
    bad.write_bytes(good[:-30])
    with pytest.raises(InputError, match=rf"{bad.name}.*go on: masklet train resume {out}"):
        Run.begin(stills_recipe(data, 8), out, PACE).train()
    bad.write_bytes(good)
    assert Run.resume(out, PACE).train().config == stills_recipe(data, 8).model


@pytest.mark.parametrize(("kept", "steps", "most"), [(0, 60, 20), (0, 5, 2), (1, 60, None)])
def test_pictures_without_an_object_are_drawn_again_and_refused_where_there_are_no_others(
    stills, tmp_path, kept, steps, most
):
    data = tmp_path / "data"
    shutil.copytree(stills, data)
    for mask in sorted(data.glob("*.png"))[kept:]:
        Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    run = Run.begin(stills_recipe(data, steps), tmp_path / "run", PACE)
    if kept:
        feed = Feed(run.recipe.stages[0], 0, tmp_path / "cache")
        assert np.mean([feed[number][1].valid.any(1).float().mean() for number in range(30)]) > 0.7
    else:
        with pytest.raises(InputError, match=rf"^{most} batches in a row show no object .* smaller than \d+ pixels"):
            run.train()


@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "another file"])
def test_a_damaged_state_is_named(stills, tmp_path, damage):
    Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    whole = (tmp_path / "state.pt").read_bytes()
    if damage == "another file":
        torch.save({"step": 1, "model": {}}, tmp_path / "state.pt")
    else:
        damaged = {"empty": b"", "half": whole[: len(whole) // 2], "garbage": b"gar" * 99}
        (tmp_path / "state.pt").write_bytes(damaged[damage])
    for use in (saved_model, lambda folder: Run.resume(folder, PACE)):
        with pytest.raises(InputError, match=r"state\.pt is (damaged, or )?no state of a run") as caught:
            use(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_disk_that_is_full_is_named_and_the_last_state_kept(stills, tmp_path, monkeypatch):
    run = Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    before = (tmp_path / "state.pt").read_bytes()
    monkeypatch.setattr("masklet.train.loop.os.fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match=r"state\.pt: .*No space left on device.*is kept; make room, then resume"):
        run.train()
    assert (tmp_path / "state.pt").read_bytes() == before


def test_time_left_counts_what_later_stages_see(stills):
    small = stills_recipe(stills, 4).stages[0]
    large = replace(
        small,
        name="large",
        steps=10,
        augmentation=replace(small.augmentation, size=2 * small.augmentation.size),
        parts=(replace(small.parts[0], clips=3 * small.parts[0].clips), small.parts[0]),
    )
    recipe = replace(stills_recipe(stills, 4), stages=(replace(small, steps=5), large))
    assert watch.steps_left(recipe, 2) == 3 + 10 * 4 * 2, "four times the pixels, of twice the pictures on average"
    assert watch.steps_left(recipe, 11) == 4 and watch.steps_left(recipe, 15) == 0


def test_a_run_goes_on_with_as_many_processes_as_it_had(stills, tmp_path):
    run = Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    run.world_size = 3
    run.save_state()
    resumed = Run.resume(tmp_path, PACE)
    with pytest.raises(InputError, match=r"by 3 processes.*--nproc-per-node 3 \(here: 1\)"):
        resumed.train()


def test_short_runs_are_written_down_and_slow_ones_saved_in_time(stills, tmp_path):
    run = Run.begin(stills_recipe(stills, 3), tmp_path, replace(PACE, print_every=100, save_every=100))
    saved = []
    run.save_state = lambda: saved.append(run.step)
    run.train()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 3]
    assert saved == [1, 3], "the ends of the two stages"
    run = Run.resume(tmp_path, replace(PACE, save_every=100, save_minutes=0))
    run.save_state = lambda: saved.append(run.step)
    run.train()
    assert saved[2:] == [1, 2, 3]


def test_the_annotators_chance_is_not_that_of_the_data(stills, tmp_path, monkeypatch):
    """The paper's sizes train on one clip a batch: number i of the batches and of the clips would draw alike."""
    keys = []
    draw = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda key: (keys.append(key), draw(key))[1])
    recipe = stills_recipe(stills, 2)
    run = Run(recipe, tmp_path, PACE)
    stage = replace(recipe.stages[0], parts=(replace(recipe.stages[0].parts[0], clips=1),))
    of_data = Feed(stage, 0, tmp_path / "cache")[0]
    data_keys, keys[:] = set(keys), []
    run._forward_backward(*of_data, stage, 0)
    streams = [{tuple(np.random.SeedSequence(key).generate_state(4)) for key in some} for some in (data_keys, keys)]
    assert len(streams[0]) == len(data_keys) >= 3, "one and the same stream may have several keys: zeros fill them up"
    assert streams[1] and not streams[0] & streams[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_data_are_named_in_one_line(tmp_path, workers):
    stills = write_stills(tmp_path / "stills", 2)
    recipe = stills_recipe(stills, 2)
    for picture in stills.glob("*.jpg"):
        picture.write_bytes(b"not a picture")
    run = Run(recipe, tmp_path / "run", replace(PACE, workers=workers))
    with pytest.raises(InputError, match=r"00\d\.jpg") as caught:
        run.train()
    assert "\n" not in str(caught.value)


def test_pictures_are_compared_on_the_models_device(stills, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("masklet.train.loop.find_tensorboard", Mock())
    monkeypatch.setattr(watch, "open_tensorboard", lambda run: Mock())
    monkeypatch.setattr(watch, "compare", lambda model, batch: seen.append(batch.pixels.device.type))
    run = Run(stills_recipe(stills, 2), tmp_path, replace(PACE, tensorboard=True, picture_every=1))
    stage = run.recipe.stages[0]
    _, batch = Feed(stage, 0, tmp_path / "cache")[0]
    watcher = watch.Watch(run)
    run.device, run.step = torch.device("meta"), 1
    watcher.note(stage, 1e-3, watch.StepReport({"loss": 1.0}, 8, batch))
    assert seen == ["meta"]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(stills, tmp_path):
    run = Run.begin(stills_recipe(stills, 4), tmp_path, PACE)
    before = (tmp_path / "state.pt").read_bytes()
    run.model.no_mem_embed.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"step 0: loss nan.*00\d\.jpg.*state\.pt"):
        run.train()
    assert (tmp_path / "state.pt").read_bytes() == before


def test_an_edited_recipe_is_what_a_run_goes_on_with(stills, tmp_path):
    Run.begin(stills_recipe(stills, 2), tmp_path, PACE).train()
    recipe = load_recipe(tmp_path / "recipe.json")
    save_recipe(
        replace(recipe, stages=(*recipe.stages, replace(recipe.stages[1], name="more", steps=2))),
        tmp_path / "recipe.json",
    )
    run = Run.resume(tmp_path, PACE)
    run.train()
    assert run.step == 4


def test_edited_settings_of_the_optimiser_hold_and_impossible_ones_are_named(stills, tmp_path):
    recipe = stills_recipe(stills, 2)
    Run.begin(replace(recipe, optimiser=replace(recipe.optimiser, ema=0.0)), tmp_path, PACE)
    edited = replace(recipe, optimiser=replace(recipe.optimiser, weight_decay=0.01, ema=0.5))
    save_recipe(edited, tmp_path / "recipe.json")
    run = Run.resume(tmp_path, PACE)
    assert {group["weight_decay"] for group in run.optimiser.param_groups} == {0.0, 0.01}
    assert run.average.decay == 0.5
    assert all(torch.equal(value, run.average.weights[name]) for name, value in run.model.state_dict().items())
    save_recipe(replace(edited, optimiser=replace(edited.optimiser, layer_decay=0.5)), tmp_path / "recipe.json")
    with pytest.raises(InputError, match=r"recipe\.json groups the weights otherwise.*layer_decay"):
        Run.resume(tmp_path, PACE)
    assert saved_model(tmp_path)[1] == "0 of 2 steps", "the model can still be taken out"
    other = replace(CONVNET, trunk=replace(CONVNET.trunk, global_blocks=2))
    save_recipe(replace(edited, model=other), tmp_path / "recipe.json")
    for read in (saved_model, lambda folder: Run.resume(folder, PACE)):
        with pytest.raises(InputError, match="are not of the network in its recipe.json"):
            read(tmp_path)


def test_the_ends_of_stages_are_blended_though_the_run_was_halted(stills, tmp_path):
    recipe = replace(stills_recipe(stills, 4), blended=(Share("second", 3.0), Share("first")))
    run = Run.begin(recipe, tmp_path, PACE)
    halted = replace(recipe, stages=recipe.stages[:1], blended=(Share("first"),))
    run.recipe = halted
    first = run.train().state_dict()
    run = Run.resume(tmp_path, PACE)
    blended = run.train().state_dict()
    for name, value in blended.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (first[name] + 3 * run.average.weights[name]) / 4)
    taken_out, _ = saved_model(tmp_path)
    assert all(torch.equal(value, blended[name]) for name, value in taken_out.state_dict().items())
    with pytest.raises(InputError, match="'third', which is not one of the stages first, second"):
        replace(recipe, blended=(Share("third"),))
    with pytest.raises(InputError, match="leaves out 'second', the last stage"):
        replace(recipe, blended=(Share("first"),))


def test_low_rank_updates_are_folded_in_before_they_are_blended(stills, tmp_path):
    """The mean of two products is not the product of two means."""
    recipe = replace(stills_recipe(stills, 4, HIERA), lora_rank=2, blended=(Share("first"), Share("second")))
    run = Run.begin(recipe, tmp_path, PACE)
    blended = run.train().state_dict()
    plain = replace(recipe, blended=())
    ends = [for_use(plain, run.blended[name], {}).state_dict() for name in ("first", "second")]
    moved = [name for name in blended if "trunk" in name and not torch.equal(ends[0][name], ends[1][name])]
    assert any(name.endswith("qkv.weight") for name in moved)
    for name in moved:
        torch.testing.assert_close(blended[name], (ends[0][name] + ends[1][name]) / 2)


def test_a_stage_named_for_blending_after_its_end_is_refused(stills, tmp_path):
    """Its weights are gone; without a word the last ones would pass for the mean."""
    recipe = stills_recipe(stills, 4)
    Run.begin(recipe, tmp_path, PACE).train()
    first, second = (stage.name for stage in recipe.stages)
    save_recipe(replace(recipe, blended=(Share(first), Share(second))), tmp_path / "recipe.json")
    for use in (saved_model, lambda folder: Run.resume(folder, PACE)):
        with pytest.raises(InputError, match=r"json blends the weights after '\w+', which had ended, at step 2"):
            use(tmp_path)


def test_a_stage_that_is_lengthened_later_counts_as_it_is_then(stills, tmp_path):
    recipe = replace(stills_recipe(stills, 2), blended=(Share("first"), Share("second")))
    run = Run.begin(recipe, tmp_path, PACE)
    run.train()
    first = run.blended["first"]
    *before, last = recipe.stages
    save_recipe(replace(recipe, stages=(*before, replace(last, steps=last.steps + 2))), tmp_path / "recipe.json")
    saved, _ = saved_model(tmp_path)
    for name, value in saved.state_dict().items():
        assert torch.equal(value, run.average.weights[name]), "the stage has not ended any more, so nothing is blended"
    run = Run.resume(tmp_path, PACE)
    longer = run.train().state_dict()
    assert list(run.blended) == ["first", "second"]
    for name, value in longer.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (first[name] + run.average.weights[name]) / 2)


def test_accumulation_is_the_mean_of_the_batches_of_a_step(stills, tmp_path):
    recipe = stills_recipe(stills, 2)
    stage, _ = recipe.stage_at(0)
    gradients = []
    for turns in ((0,), (1,), (2,), (0, 1, 2)):
        run = Run(replace(recipe, accumulate=len(turns)), tmp_path, PACE)
        feed = Feed(stage, recipe.seed, tmp_path / "cache")
        run.model.eval()  # statistics of a batch would tie the turns together
        for turn in turns:
            run._forward_backward(*feed[turn], stage, turn)
        gradients.append(run.model.sam_mask_decoder.mask_tokens.weight.grad)
    torch.testing.assert_close(gradients[3], (gradients[0] + gradients[1] + gradients[2]) / 3)


def test_a_gradient_that_is_too_long_is_shortened_before_the_step(stills, tmp_path, monkeypatch):
    recipe = stills_recipe(stills, 2)
    run = Run(replace(recipe, optimiser=replace(recipe.optimiser, clip=1e-3)), tmp_path, PACE)
    stage, norms = recipe.stages[0], []

    def measure():
        gradients = [weight.grad for weight in run.model.parameters() if weight.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))

    monkeypatch.setattr(run.optimiser, "step", measure)
    report = run._optimise([Feed(stage, 0, tmp_path / "cache")[0]], stage, 1e-3)
    assert report.scalars["gradient"] > 0.01, "what is reported is the length before"
    assert norms == [pytest.approx(1e-3, rel=1e-2)]


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.05), ("bfloat16 encoder", 0.05)]
)
def test_bfloat16_and_encoding_twice_train_as_well(stills, tmp_path, precision, tolerance):
    recipe = stills_recipe(stills, 2)
    Run.begin(recipe, tmp_path / "plain", PACE).train()
    Run.begin(replace(recipe, precision=precision, checkpointing=True), tmp_path / "run", PACE).train()
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "plain"), rtol=tolerance)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("model", "together"), [(HIERA, 1), (CONVNET, 4)])
def test_pictures_are_encoded_again_one_by_one_where_no_statistics_tie_them(stills, tmp_path, model, together):
    recipe = stills_recipe(stills, 2, model)
    gradients = []
    for checkpointing in (False, True):
        run = Run(replace(recipe, checkpointing=checkpointing), tmp_path, PACE)
        sizes = []
        run.model.image_encoder.register_forward_hook(lambda _, inputs, __, sizes=sizes: sizes.append(len(inputs[0])))
        run._forward_backward(*Feed(recipe.stages[0], 0, tmp_path / "cache")[0], recipe.stages[0], 0)
        assert set(sizes) == {together if checkpointing else 4}
        gradients.append(run.model.image_encoder.neck.convs[0].conv.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


@pytest.fixture
def one_thread():
    """PyTorch 2.13 corrupts memory on two threads: oneDNN's gradient of the weights of a 1 x 1 convolution of stride 2,
    channels last, with under 16 channels in and a batch of 3. The tiny model has one; `nano` has none so narrow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_clips_prompted_with_masks_train_in_any_precision(tmp_path):
    recipe = clip_recipe(write_clip(tmp_path / "clip", 3), 2, 3)
    masks_only = replace(recipe.stages[0].parts[0], annotator=Annotator(mask_share=1.0, box_share=0.0, max_prompted=1))
    recipe = replace(recipe, stages=(replace(recipe.stages[0], parts=(masks_only,)),))
    curves = []
    for precision in ("float32", "bfloat16", "bfloat16 encoder"):
        Run.begin(replace(recipe, precision=precision), tmp_path / precision, PACE).train()
        curves.append(losses(tmp_path / precision))
    assert np.isfinite(curves).all()
    assert len({curve[0] for curve in curves}) == 3, "each computes in another precision"
    np.testing.assert_allclose(curves[1:], curves[:1] * 2, rtol=0.05)


def test_a_stage_may_keep_the_statistics_of_batch_normalisation(stills, tmp_path):
    recipe = stills_recipe(stills, 4)
    first, second = recipe.stages
    run = Run(recipe, tmp_path, PACE)
    trunk = run.model.image_encoder.trunk
    for stage, learned in ((replace(first, fixed_statistics=True), False), (second, True)):
        before = {name: value.clone() for name, value in trunk.state_dict().items()}
        run._optimise([Feed(stage, 0, tmp_path / "cache")[0]], stage, 1e-3)
        changed = {name for name, value in trunk.state_dict().items() if not torch.equal(value, before[name])}
        assert any(name.endswith("weight") for name in changed)
        assert any(name.endswith("running_mean") for name in changed) == learned


def test_only_the_encoder_computes_in_half_precision_where_that_is_asked(stills, tmp_path):
    run = Run(replace(stills_recipe(stills, 2), precision="bfloat16 encoder"), tmp_path, PACE)
    stage, _ = run.recipe.stage_at(0)
    seen = {}
    for name in ("image_encoder.trunk.stages.3.0.body.0", "sam_mask_decoder.transformer.layers.0.mlp.layers.0"):
        run.model.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({name.split(".")[0]: output.dtype})
        )
    run._forward_backward(*Feed(stage, 0, tmp_path / "cache")[0], stage, 0)
    assert seen == {"image_encoder": torch.bfloat16, "sam_mask_decoder": torch.float32}


def test_tensorboard_that_is_missing_is_missed_before_anything_is_written(stills, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DeviceError, match=r"pip install 'masklet\[train\]'"):
        Run.begin(stills_recipe(stills, 2), tmp_path / "run", replace(PACE, tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_scalars_and_pictures(stills, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pace = Pace(print_every=1, picture_every=2, workers=0, tensorboard=True)
    Run.begin(stills_recipe(stills, 2), tmp_path, pace).train()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert [event.step for event in events.Images("truth above, prediction below")] == [2]


def test_what_was_written_after_the_last_state_is_hidden_when_a_run_goes_on(stills, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pace = Pace(save_every=1, print_every=1, workers=0, tensorboard=True)
    recipe = stills_recipe(stills, 4)
    run = Run.begin(recipe, tmp_path, pace)
    run.save_state = lambda: Run.save_state(run) if run.step <= 1 else None  # killed before it saved step 2
    run.recipe = replace(recipe, stages=recipe.stages[:1])
    run.train()
    Run.resume(tmp_path, pace).train()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]


def test_pictures_show_the_truth_above_the_prediction(stills, tmp_path):
    run = Run(stills_recipe(stills, 2), tmp_path, PACE)
    _, batch = Feed(run.recipe.stages[0], 0, tmp_path / "cache")[0]
    run.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(-1e4)  # "nothing there" everywhere
    picture = compare(run.model, batch)
    assert picture.shape == (128, 4 * 64, 3)
    bare = batch.pixels[0, 0].permute(1, 2, 0).numpy()
    assert (picture[64:, :64] == bare).all(), "no mask is drawn where none is predicted"
    assert (picture[:64, :64] != bare).any()


def test_a_recipe_that_ends_before_a_run_has_come_is_told(stills, tmp_path):
    recipe = stills_recipe(stills, 4)
    Run.begin(recipe, tmp_path, PACE).train()
    save_recipe(replace(recipe, stages=recipe.stages[:1]), tmp_path / "recipe.json")
    with pytest.raises(InputError, match=r"was trained for 4 steps, and its recipe\.json now says 2: .* train export"):
        Run.resume(tmp_path, PACE)


def test_what_is_trained_on_is_told_first(stills, tmp_path, capsys):
    Run.begin(stills_recipe(stills, 2), tmp_path, PACE)
    assert capsys.readouterr().out == f"{stills}: 6 pictures\n"
