import os

import pytest

from reprise.press import execute


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("REPRISE_BUILD", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_runs_of_the_gpu_profile_never_share_a_device(two_gpus):
    with execute._device("gpu"):
        first = os.environ["CUDA_VISIBLE_DEVICES"]
        os.environ["CUDA_VISIBLE_DEVICES"] = "2,3"  # as another process sees it
        with execute._device("gpu"):
            assert {first, os.environ["CUDA_VISIBLE_DEVICES"]} == {"2", "3"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_a_device_is_free_again_after_a_failure(two_gpus):
    for _ in range(3):
        device = execute._device("gpu")
        device.__enter__()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        with pytest.raises(RuntimeError):
            device.gen.throw(RuntimeError())


def test_other_profiles_and_batch_systems_are_left_alone(two_gpus, monkeypatch):
    with execute._device("ci"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with execute._device("gpu"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
