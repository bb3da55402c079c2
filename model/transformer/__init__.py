"""The decoder with HookPoints, its config, tokenizer and checkpoints."""
