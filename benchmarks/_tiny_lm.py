"""A language model as small as one can be: two layers of width 32, random weights, a tokenizer learnt from a few lines.

For tests and probes where it matters which model answered and not how well. Knows nothing of Sartor.
"""

import json
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LINES = (
    "Sally had 12 apples and gave 5 of them to her friends. How many apples are left?",
    "Write the answer as an object with the fields brand, flavour, size and price.",
    '{"brand": "Acme", "flavour": ["lemon", "mint"], "size": "12 oz", "price": 3.5}',
    '{"lines": [{"item": "steel bolt", "count": 20}, {"item": "copper wire", "count": 7}]}',
    "The invoice of 3 May is for 20 steel bolts and 7 rolls of copper wire, 145.90 in all.",
    "user assistant system system user assistant true false null true false null",
)
POSITIONS = 512


def write_tiny_lm(folder: Path, *, seed: int = 0) -> Path:
    """Write the model into `folder` as a Hugging Face folder (safetensors), in a second."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    vocabulary = len(tokenizer)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.random.set_rng_state(state)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    return folder


def write_tiny_adapter(folder: Path, *, seed: int, rank: int = 4, strength: float = 0.5) -> Path:
    """Write an adapter of random weights for q, k, v and o into `folder`, in PEFT's format."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for name, (wide, out) in {"q": (32, 32), "k": (32, 16), "v": (32, 16), "o": (32, 32)}.items():
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}_proj"
            tensors[f"{at}.lora_A.weight"] = torch.randn(rank, wide, generator=random) * strength
            tensors[f"{at}.lora_B.weight"] = torch.randn(out, rank, generator=random) * strength
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "base_model_name_or_path": "tiny",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    wrapped: Any = PreTrainedTokenizerFast
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(LINES, trainer)
    return wrapped(
        tokenizer_object=inner,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
        unk_token=SPECIAL[0],
        chat_template=TEMPLATE,
        model_max_length=POSITIONS,
    )
