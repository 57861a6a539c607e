/* tern for C, and for every language that calls C.
 *
 *   tern_model* model = NULL;
 *   if (tern_model_load("demo", NULL, &model) != TERN_OK) {
 *     const tern_error* error = tern_last_error();
 *     fprintf(stderr, "%s: %s\n", error->where, error->what);
 *   }
 *
 * Every function that can fail returns a tern_status; what went wrong is then in tern_last_error().
 * Texts are UTF-8. Pointers that are not said to be optional must not be NULL: NULL is TERN_USAGE.
 * What a function returns through a pointer is set on success only.
 *
 * Structures begin with their size, which the *_INIT macros fill in, so that later versions can add
 * fields at the end: programs compiled against an older header go on working.
 *
 * A tern_model may be shared between threads. A tern_session belongs to one thread at a time.
 * Nothing here prints, exits or lets a C++ exception out. Full prose: docs/c-api.md. */
#ifndef TERN_TERN_H
#define TERN_TERN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define TERN_API __attribute__((visibility("default")))
#else
#define TERN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when something is added; a change that breaks programs raises the library's soname. */
#define TERN_C_API_VERSION 3

/* The version of this interface that the library has, at least the header's. */
TERN_API int tern_c_api_version(void);
/* Of the library, for example "0.1.0". */
TERN_API const char* tern_version(void);

/* ---- Errors ------------------------------------------------------------------------------- */

/* docs/errors.md says what each means. */
typedef enum tern_status {
  TERN_OK = 0,
  TERN_USAGE = 1, /* the caller asked for something that contradicts itself or is out of range */
  TERN_NOT_FOUND = 2,    /* a file or a model that should be there is not */
  TERN_CORRUPT = 3,      /* bytes that break the rules of their own format */
  TERN_UNSUPPORTED = 4,  /* well-formed, but nothing that this engine knows */
  TERN_MISMATCH = 5,     /* two things that must agree do not */
  TERN_TOO_LARGE = 6,    /* over a limit, for example the context */
  TERN_BUSY = 7,         /* no capacity now */
  TERN_IO = 8,           /* the operating system refused a read or a write */
  TERN_NO_MEMORY = 9,    /* an allocation failed */
  TERN_NUMERIC = 10,     /* a number that is not finite: a broken model file */
  TERN_CANCELLED = 11,   /* stopped on request */
  TERN_INTERNAL = 12,    /* a fault of the engine itself */
  TERN_UNREACHABLE = 13, /* no hub: it cannot be reached, does not answer, or has a fault */
  TERN_DENIED = 14,      /* a hub's model whose terms were not accepted, or no token for it */
  TERN_OFFLINE = 15      /* the environment forbids to ask a hub */
} tern_status;

typedef struct tern_error {
  tern_status status;
  const char* what;  /* the thing and both values, where two disagree */
  const char* where; /* a file, a tensor, an option; may be "" */
  const char* hint;  /* the likely cause; may be "" */
} tern_error;

/* The last failure on this thread; status TERN_OK when there was none. Never NULL; valid until the
 * next call of this library on this thread. */
TERN_API const tern_error* tern_last_error(void);

/* "not_found" and the like; "ok". Never NULL. */
TERN_API const char* tern_status_name(tern_status status);

/* ---- Models ------------------------------------------------------------------------------- */

typedef struct tern_model tern_model;

/* what: a word for it. done of total, in a unit of its own. */
typedef void (*tern_progress)(void* user, const char* what, size_t done, size_t total);

typedef struct tern_load_options {
  size_t size;    /* sizeof(tern_load_options) */
  size_t threads; /* 0: every CPU that the process may use */
  size_t context; /* most tokens of a conversation; 0: the model's limit, or what memory allows */
  const char* kv; /* cache type, "turbo4" or "keys:values"; NULL: the model's name, else f16 */
  tern_progress progress; /* optional; while the model is opened, and while prompts are read */
  void* progress_user;
} tern_load_options;
#define TERN_LOAD_OPTIONS_INIT {sizeof(tern_load_options), 0, 0, NULL, NULL, NULL}

/* model: a folder, a .gguf file, or "demo", the model inside the library; names that `tern` takes
 * on its command line. options: optional. Free *out with tern_model_free. */
TERN_API tern_status tern_model_load(const char* model, const tern_load_options* options,
                                     tern_model** out);
/* NULL is fine. Sessions keep their model: the order of freeing does not matter. As with free(), a
 * handle must not be used or freed again; that cannot be noticed. */
TERN_API void tern_model_free(tern_model* model);

typedef struct tern_model_info {
  size_t size;              /* sizeof(tern_model_info) */
  const char* name;         /* as given to load; this and the next ones live as long as the model */
  const char* architecture; /* for example "nemotron_h" */
  const char* container;    /* "safetensors" or "gguf" */
  const char* kv_keys;      /* cache types, for example "turbo4" */
  const char* kv_values;
  size_t layers;
  size_t vocabulary; /* logits of one token */
  size_t context;    /* tokens */
  uint64_t parameters;
  uint64_t weight_bytes;
  uint64_t kv_bytes_per_token;
  uint64_t state_bytes;   /* recurrent state of one session */
  size_t trained_context; /* tokens that the model was made for; 0: not said. Since version 3 */
} tern_model_info;
#define TERN_MODEL_INFO_INIT \
  {sizeof(tern_model_info), NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0}

/* info->size says how much of it to fill. */
TERN_API tern_status tern_model_get_info(const tern_model* model, tern_model_info* info);

/* ---- Text --------------------------------------------------------------------------------- */

/* Texts and arrays that functions return through `out` pointers; NULL is fine. */
TERN_API void tern_free(void* memory);

typedef struct tern_template_options {
  size_t size;                /* sizeof(tern_template_options) */
  int add_generation_prompt;  /* 1: the prompt ends where the answer begins */
  int enable_thinking;        /* 1 */
  const char* tools_json;     /* JSON array of OpenAI-shaped tools; NULL: none */
  const char* variables_json; /* JSON object of further template variables; NULL: none */
} tern_template_options;
#define TERN_TEMPLATE_OPTIONS_INIT {sizeof(tern_template_options), 1, 1, NULL, NULL}

/* The prompt for a conversation, as the model's own template renders it.
 * messages_json: [{"role": "user", "content": "..."}, ...] in OpenAI's shape. options: optional.
 * *out ends with a zero byte; free it with tern_free. */
TERN_API tern_status tern_apply_chat_template(const tern_model* model, const char* messages_json,
                                              const tern_template_options* options, char** out);

/* Ids of `bytes` bytes of text. parse_special: 0 for text that must not become control tokens.
 * Free *out with tern_free; *count may be 0. */
TERN_API tern_status tern_tokenize(const tern_model* model, const char* text, size_t bytes,
                                   int parse_special, uint32_t** out, size_t* count);

/* Bytes of the ids, concatenated; a token may end inside a character. *out ends with a zero byte
 * that *bytes (optional) does not count; free it with tern_free. */
TERN_API tern_status tern_detokenize(const tern_model* model, const uint32_t* tokens, size_t count,
                                     int skip_special, char** out, size_t* bytes);

/* Any of them ends an answer; ascending. Free *out with tern_free. */
TERN_API tern_status tern_end_tokens(const tern_model* model, uint32_t** out, size_t* count);

/* ---- Sessions ----------------------------------------------------------------------------- */

/* One conversation: the tokens so far and the state that they left. */
typedef struct tern_session tern_session;

/* kv: a cache type of its own; NULL: the model's. */
TERN_API tern_status tern_session_new(const tern_model* model, const char* kv, tern_session** out);
TERN_API void tern_session_free(tern_session* session);
/* Forgets everything. */
TERN_API tern_status tern_session_reset(tern_session* session);
/* Tokens held; 0 for NULL. */
TERN_API size_t tern_session_position(const tern_session* session);
/* An independent copy. */
TERN_API tern_status tern_session_fork(const tern_session* session, tern_session** out);
/* Makes the present position one to go back to quickly. */
TERN_API tern_status tern_session_mark(tern_session* session);
/* Keeps the first `position` tokens; what lies between the last mark before and there is read
 * again. */
TERN_API tern_status tern_session_truncate(tern_session* session, size_t position);

/* Writes the session to a file, atomically. metadata: a text of the caller's, at most 1 MB; NULL:
 * "". */
TERN_API tern_status tern_session_save(const tern_session* session, const char* path,
                                       const char* metadata);
/* The session that tern_session_save wrote with the same model. metadata: optional, free with
 * tern_free. */
TERN_API tern_status tern_session_load(const tern_model* model, const char* path,
                                       tern_session** out, char** metadata);

/* ---- Generating --------------------------------------------------------------------------- */

/* Stops what runs, within one token or one piece of a prompt; from another thread or a signal
 * handler. */
typedef struct tern_cancel tern_cancel;
TERN_API tern_status tern_cancel_new(tern_cancel** out);
TERN_API void tern_cancel_free(tern_cancel* cancel);
/* Safe in signal handlers. */
TERN_API void tern_cancel_request(tern_cancel* cancel);
/* Takes a request back, for the next run. */
TERN_API void tern_cancel_reset(tern_cancel* cancel);

/* A piece of the answer, whole UTF-8 characters, `bytes` long and without a zero byte at its end.
 * reasoning: 1 inside <think>. Returns 0 to stop, 1 to go on. */
typedef int (*tern_on_piece)(void* user, const char* text, size_t bytes, int reasoning);

/* Numbers below zero (and a repetition_penalty of 0) mean the default for the family and the mode.
 */
typedef struct tern_generate_options {
  size_t size;        /* sizeof(tern_generate_options) */
  int64_t max_tokens; /* 20480 thinking, 1024 not */
  float temperature;  /* 0: greedy */
  int64_t top_k;      /* 0: off */
  float top_p;        /* (0, 1] */
  float min_p;        /* [0, 1) */
  float repetition_penalty;
  float presence_penalty;   /* [-2, 2]; 0: off */
  float frequency_penalty;  /* [-2, 2]; 0: off */
  int64_t seed;             /* the same gives the same tokens; below zero: random */
  int64_t reasoning_budget; /* tokens */
  int ignore_eos;
  const char* const* stop; /* texts that end the answer; `stops` of them */
  size_t stops;
} tern_generate_options;
#define TERN_GENERATE_OPTIONS_INIT \
  {sizeof(tern_generate_options), -1, -1.0f, -1, -1.0f, -1.0f, 0.0f, 0.0f, 0.0f, -1, -1, 0, NULL, 0}

typedef enum tern_finish {
  TERN_FINISH_STOP = 0,     /* an end-of-turn token or a stop text */
  TERN_FINISH_LENGTH = 1,   /* max_tokens, or the context is full */
  TERN_FINISH_CANCELLED = 2 /* the callback or a tern_cancel said so */
} tern_finish;

typedef struct tern_generation {
  size_t size; /* sizeof(tern_generation) */
  tern_finish finish;
  size_t prompt_tokens;
  size_t reused_tokens;    /* of the prompt: held by the session already */
  size_t generated_tokens; /* end token included */
  size_t reasoning_tokens;
  double prefill_seconds;
  double decode_seconds;
  uint64_t seed; /* the one that was used */
} tern_generation;
#define TERN_GENERATION_INIT {sizeof(tern_generation), TERN_FINISH_STOP, 0, 0, 0, 0, 0.0, 0.0, 0}

/* Answers `prompt` (the whole conversation: what the session holds of its beginning is not read
 * again). options, on_piece, cancel and result are optional. That it was cancelled is a finish, not
 * an error. */
TERN_API tern_status tern_generate(tern_session* session, const uint32_t* prompt, size_t count,
                                   const tern_generate_options* options, tern_on_piece on_piece,
                                   void* user, tern_cancel* cancel, tern_generation* result);

/* ---- Token by token, for samplers of one's own -------------------------------------------- */

/* Appends tokens to the session, in pieces. cancel: optional; a cancelled read is TERN_CANCELLED
 * and the session holds whole pieces. */
TERN_API tern_status tern_session_read(tern_session* session, const uint32_t* tokens, size_t count,
                                       tern_cancel* cancel);
/* Logits [*count] of the last token that was read; valid until the session changes. TERN_USAGE when
 * there are none. */
TERN_API tern_status tern_session_logits(const tern_session* session, const float** out,
                                         size_t* count);
/* Ids held; valid until the session changes. */
TERN_API tern_status tern_session_tokens(const tern_session* session, const uint32_t** out,
                                         size_t* count);

#ifdef __cplusplus
}
#endif

#endif
