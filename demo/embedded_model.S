# Bytes of the model directory, one pair of symbols for each file.
#define EMBED(symbol, file)            \
    .balign 64;                        \
    .global tern_demo_##symbol##_begin; \
    .global tern_demo_##symbol##_end;  \
    tern_demo_##symbol##_begin:        \
    .incbin file;                      \
    tern_demo_##symbol##_end:          \
    .byte 0

    .section .rodata
    EMBED(config, "config.json")
    EMBED(generation_config, "generation_config.json")
    EMBED(tokenizer, "tokenizer.json")
    EMBED(chat_template, "chat_template.jinja")
    EMBED(weights, "model.safetensors")
    .section .note.GNU-stack, "", @progbits
