"""Where a language model is trained, and what follows from it: number format, 4-bit bases, checkpointed gradients.

The one seam between recipes and a GPU: recipes ask here how to open a base and what to tell a trainer. The CUDA side is
tested for what it tells them; the project's own tests run on CPUs. Knows no recipe.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sartor.core.errors import AskError, missing_extra


@dataclass(frozen=True)
class Device:
    """Where training happens and how."""

    name: Literal["cpu", "cuda"] = "cpu"
    bfloat16: bool = False
    """Whether frozen weights and products are bfloat16; what is trained stays float32."""
    four_bit: bool = False
    """Whether the frozen base is held in 4 bits (Dettmers et al. 2023, "QLoRA")."""

    def load_settings(self) -> dict[str, Any]:
        """For `from_pretrained`.

        Raises:
            MissingExtraError: 4 bits need a package that is not installed.
        """
        import torch

        dtype = torch.bfloat16 if self.bfloat16 else torch.float32
        found: dict[str, Any] = {"dtype": dtype}
        if self.name == "cuda":
            found["device_map"] = {"": 0}
        if self.four_bit:
            found["quantization_config"] = _four_bits(dtype)
        return found

    def trainer_settings(self) -> dict[str, Any]:
        """For a trainer of transformers or trl: on a GPU it computes gradients anew rather than keep them all."""
        cuda = self.name == "cuda"
        found: dict[str, Any] = {"use_cpu": not cuda, "bf16": cuda and self.bfloat16, "gradient_checkpointing": cuda}
        return found | ({"gradient_checkpointing_kwargs": {"use_reentrant": False}} if cuda else {})

    def facts(self) -> dict[str, Any]:
        """What of it bears on what is made."""
        return {"device": self.name, "precision": "bfloat16" if self.bfloat16 else "float32", "four_bit": self.four_bit}


def device_for(name: str, *, four_bit: bool = False, cpu_bfloat16: bool = False) -> Device:
    """The device that a job names, if it is there.

    Args:
        four_bit: hold the frozen base in 4 bits; on GPUs only.
        cpu_bfloat16: whether the CPU multiplies bfloat16.

    Raises:
        AskError: there is no such device, or none on this machine.
    """
    if name == "cpu":
        if four_bit:
            raise AskError(
                "A base in 4 bits is trained on a GPU: set 'device: cuda', or leave 'four_bit' out.",
                param="candidates.params.four_bit",
                code="four_bit_on_cpu",
            )
        return Device("cpu", bfloat16=cpu_bfloat16)
    if name != "cuda":
        raise AskError(f"There is no device '{name}'. Known: cpu, cuda.", param="candidates.device", code="no_device")
    if not _has_cuda():
        raise AskError(
            "The candidate is to be trained with CUDA, and torch finds no such GPU here. Run it where one is (a sweep "
            "or a worker of the queue 'gpu'), or set 'device: cpu'.",
            param="candidates.device",
            code="no_gpu",
        )
    return Device("cuda", bfloat16=True, four_bit=four_bit)


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _four_bits(dtype: Any) -> Any:
    import importlib.util

    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise missing_extra("bitsandbytes", "a base in 4 bits")
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
