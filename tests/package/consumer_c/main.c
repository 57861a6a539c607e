/* The C interface, used as C: every function once, and what it promises about errors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/tern.h>

static int failures = 0;

#define EXPECT(condition)                                             \
  do {                                                                \
    if (!(condition)) {                                               \
      ++failures;                                                     \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                 \
  } while (0)

#define EXPECT_OK(call)                                                                \
  do {                                                                                 \
    if ((call) != TERN_OK) {                                                           \
      ++failures;                                                                      \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, tern_last_error()->where, \
              tern_last_error()->what);                                                \
    }                                                                                  \
  } while (0)

typedef struct answer {
  char text[4096];
  size_t bytes;
  int stop_after;
  int pieces;
} answer;

static int collect(void* user, const char* text, size_t bytes, int reasoning) {
  answer* a = user;
  (void)reasoning;
  if (a->bytes + bytes < sizeof a->text) {
    memcpy(a->text + a->bytes, text, bytes);
    a->bytes += bytes;
    a->text[a->bytes] = '\0';
  }
  ++a->pieces;
  return a->stop_after == 0 || a->pieces < a->stop_after;
}

static void count_progress(void* user, const char* what, size_t done, size_t total) {
  if (what != NULL && done <= total) ++*(int*)user;
}

static void check_errors(void) {
  tern_model* model = NULL;
  EXPECT(tern_model_load("/no/such/model", NULL, &model) == TERN_NOT_FOUND);
  EXPECT(model == NULL);
  const tern_error* error = tern_last_error();
  EXPECT(error->status == TERN_NOT_FOUND && error->what[0] != '\0');
  EXPECT(strstr(error->where, "/no/such/model") != NULL ||
         strstr(error->what, "/no/such/model") != NULL);
  EXPECT(strcmp(tern_status_name(TERN_NOT_FOUND), "not_found") == 0);
  EXPECT(strcmp(tern_status_name(TERN_INTERNAL), "internal") == 0);
  EXPECT(strcmp(tern_status_name(TERN_OK), "ok") == 0);
  EXPECT(tern_model_load(NULL, NULL, &model) == TERN_USAGE);
  EXPECT(tern_model_load("demo", NULL, NULL) == TERN_USAGE);
  tern_load_options options = TERN_LOAD_OPTIONS_INIT;
  options.kv = "turbo99";
  EXPECT(tern_model_load("demo", &options, &model) == TERN_USAGE);
  EXPECT(tern_last_error()->hint[0] != '\0');
  options.size = 0;
  EXPECT(tern_model_load("demo", &options, &model) == TERN_USAGE);
  tern_model_free(NULL);
  tern_session_free(NULL);
  tern_cancel_free(NULL);
  tern_free(NULL);
  EXPECT(tern_session_position(NULL) == 0);
}

static tern_model* load(void) {
  static int calls = 0; /* the model keeps it: prompts are reported too */
  tern_load_options options = TERN_LOAD_OPTIONS_INIT;
  options.threads = 2;
  options.context = 512;
  options.progress = count_progress;
  options.progress_user = &calls;
  tern_model* model = NULL;
  EXPECT_OK(tern_model_load("demo", &options, &model));
  EXPECT(calls > 0);
  return model;
}

static void check_info(const tern_model* model) {
  tern_model_info info = TERN_MODEL_INFO_INIT;
  EXPECT_OK(tern_model_get_info(model, &info));
  EXPECT(strcmp(info.name, "demo") == 0 && info.context == 512 && info.vocabulary > 0);
  EXPECT(strcmp(info.kv_keys, "f16") == 0 && info.state_bytes > 0);
  EXPECT(info.trained_context == 8192); /* max_position_embeddings */
  /* A program of an older header, which knows no field after `name`. */
  tern_model_info old = TERN_MODEL_INFO_INIT;
  old.size = offsetof(tern_model_info, architecture);
  EXPECT_OK(tern_model_get_info(model, &old));
  EXPECT(old.name != NULL && old.architecture == NULL);
  /* One of version 2, before `trained_context`. */
  tern_model_info second = TERN_MODEL_INFO_INIT;
  second.size = offsetof(tern_model_info, trained_context);
  EXPECT_OK(tern_model_get_info(model, &second));
  EXPECT(second.state_bytes > 0 && second.trained_context == 0);
}

static uint32_t* prompt_of(const tern_model* model, size_t* count) {
  char* prompt = NULL;
  tern_template_options options = TERN_TEMPLATE_OPTIONS_INIT;
  options.enable_thinking = 0;
  EXPECT_OK(tern_apply_chat_template(model, "[{\"role\": \"user\", \"content\": \"Hello\"}]",
                                     &options, &prompt));
  EXPECT(tern_apply_chat_template(model, "[", NULL, &prompt) == TERN_CORRUPT);
  uint32_t* tokens = NULL;
  EXPECT_OK(tern_tokenize(model, prompt, strlen(prompt), 1, &tokens, count));
  char* text = NULL;
  size_t bytes = 0;
  EXPECT_OK(tern_detokenize(model, tokens, *count, 0, &text, &bytes));
  EXPECT(bytes == strlen(prompt) && strcmp(text, prompt) == 0);
  tern_free(text);
  tern_free(prompt);
  return tokens;
}

static void check_generate(const tern_model* model, const uint32_t* prompt, size_t count) {
  tern_session* session = NULL;
  EXPECT_OK(tern_session_new(model, NULL, &session));
  tern_generate_options options = TERN_GENERATE_OPTIONS_INIT;
  options.max_tokens = 8;
  options.temperature = 0.0f;
  options.ignore_eos = 1;
  answer whole = {{0}, 0, 0, 0};
  tern_generation generation = TERN_GENERATION_INIT;
  EXPECT_OK(tern_generate(session, prompt, count, &options, collect, &whole, NULL, &generation));
  EXPECT(generation.generated_tokens == 8 && generation.finish == TERN_FINISH_LENGTH);
  EXPECT(generation.prompt_tokens == count && whole.bytes > 0);
  EXPECT(tern_session_position(session) == count + 7);

  answer cut = {{0}, 0, 1, 0};
  EXPECT_OK(tern_session_reset(session));
  EXPECT_OK(tern_generate(session, prompt, count, &options, collect, &cut, NULL, &generation));
  EXPECT(generation.finish == TERN_FINISH_CANCELLED && cut.pieces == 1);
  EXPECT(strncmp(whole.text, cut.text, cut.bytes) == 0);

  tern_cancel* cancel = NULL;
  EXPECT_OK(tern_cancel_new(&cancel));
  tern_cancel_request(cancel);
  EXPECT_OK(tern_generate(session, prompt, count, &options, NULL, NULL, cancel, &generation));
  EXPECT(generation.finish == TERN_FINISH_CANCELLED && generation.generated_tokens == 0);
  tern_cancel_reset(cancel);
  EXPECT_OK(tern_generate(session, prompt, count, &options, NULL, NULL, cancel, &generation));
  EXPECT(generation.generated_tokens == 8);
  tern_cancel_free(cancel);

  options.top_p = 7.0f;
  EXPECT(tern_generate(session, prompt, count, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  EXPECT(tern_generate(session, prompt, 0, NULL, NULL, NULL, NULL, NULL) == TERN_USAGE);
  tern_session_free(session);
}

static uint32_t best(const tern_session* session, const tern_model* model) {
  const float* logits = NULL;
  size_t count = 0, index = 0;
  tern_model_info info = TERN_MODEL_INFO_INIT;
  EXPECT_OK(tern_session_logits(session, &logits, &count));
  EXPECT_OK(tern_model_get_info(model, &info));
  EXPECT(count == info.vocabulary);
  for (size_t i = 1; i < count; ++i)
    if (logits[i] > logits[index]) index = i;
  return (uint32_t)index;
}

/* Token by token: going back, copying and a file lead to the same next token. */
static void check_sessions(const tern_model* model, const uint32_t* prompt, size_t count,
                           const char* path) {
  tern_session* session = NULL;
  EXPECT_OK(tern_session_new(model, "turbo4", &session));
  const float* logits = NULL;
  size_t held = 0;
  EXPECT(tern_session_logits(session, &logits, &held) == TERN_USAGE);
  EXPECT_OK(tern_session_read(session, prompt, count, NULL));
  const uint32_t next = best(session, model);
  EXPECT_OK(tern_session_mark(session));
  EXPECT_OK(tern_session_read(session, &next, 1, NULL));
  const uint32_t second = best(session, model);

  tern_session* copy = NULL;
  EXPECT_OK(tern_session_fork(session, &copy));
  EXPECT_OK(tern_session_truncate(copy, count - 1));
  EXPECT(tern_session_position(copy) == count - 1 && tern_session_position(session) == count + 1);
  EXPECT_OK(tern_session_read(copy, prompt + count - 1, 1, NULL));
  EXPECT(best(copy, model) == next);
  EXPECT(tern_session_truncate(copy, 1000) == TERN_USAGE);

  EXPECT_OK(tern_session_save(copy, path, "{\"turn\": 1}"));
  tern_session* loaded = NULL;
  char* metadata = NULL;
  EXPECT_OK(tern_session_load(model, path, &loaded, &metadata));
  EXPECT(metadata != NULL && strcmp(metadata, "{\"turn\": 1}") == 0);
  tern_free(metadata);
  const uint32_t* tokens = NULL;
  EXPECT_OK(tern_session_tokens(loaded, &tokens, &held));
  EXPECT(held == count && memcmp(tokens, prompt, count * sizeof *prompt) == 0);
  EXPECT_OK(tern_session_read(loaded, &next, 1, NULL));
  EXPECT(best(loaded, model) == second);
  EXPECT(tern_session_load(model, "/no/such/file", &loaded, NULL) == TERN_NOT_FOUND);
  remove(path);

  tern_session_free(loaded);
  tern_session_free(copy);
  tern_session_free(session);
  EXPECT(tern_session_new(model, "turbo99", &session) == TERN_USAGE);
}

/* NULL wherever a pointer is taken, and numbers that nobody means. */
static void check_hostile(tern_model* model) {
  tern_session* session = NULL;
  tern_model* other = NULL;
  uint32_t* tokens = NULL;
  uint32_t wild[2] = {UINT32_MAX, 5};
  const uint32_t* held = NULL;
  const float* logits = NULL;
  char* text = NULL;
  size_t n = 0;
  EXPECT_OK(tern_session_new(model, NULL, &session));
  tern_model_info info = TERN_MODEL_INFO_INIT;
  EXPECT(tern_model_get_info(NULL, &info) == TERN_USAGE);
  EXPECT(tern_model_get_info(model, NULL) == TERN_USAGE);
  info.size = SIZE_MAX;
  EXPECT(tern_model_get_info(model, &info) == TERN_USAGE);
  EXPECT(tern_apply_chat_template(NULL, "[]", NULL, &text) == TERN_USAGE);
  EXPECT(tern_apply_chat_template(model, NULL, NULL, &text) == TERN_USAGE);
  EXPECT(tern_apply_chat_template(model, "[]", NULL, NULL) == TERN_USAGE);
  EXPECT(tern_tokenize(NULL, "x", 1, 0, &tokens, &n) == TERN_USAGE);
  EXPECT(tern_tokenize(model, NULL, 1, 0, &tokens, &n) == TERN_USAGE);
  EXPECT(tern_tokenize(model, "x", 1, 0, NULL, &n) == TERN_USAGE);
  EXPECT(tern_tokenize(model, "x", 1, 0, &tokens, NULL) == TERN_USAGE);
  EXPECT(tern_detokenize(NULL, wild, 1, 0, &text, NULL) == TERN_USAGE);
  EXPECT(tern_detokenize(model, NULL, 1, 0, &text, NULL) == TERN_USAGE);
  EXPECT(tern_detokenize(model, wild, 1, 0, NULL, NULL) == TERN_USAGE);
  EXPECT(tern_end_tokens(NULL, &tokens, &n) == TERN_USAGE);
  EXPECT(tern_end_tokens(model, NULL, &n) == TERN_USAGE);
  EXPECT(tern_session_new(NULL, NULL, &session) == TERN_USAGE);
  EXPECT(tern_session_new(model, NULL, NULL) == TERN_USAGE);
  EXPECT(tern_session_reset(NULL) == TERN_USAGE);
  EXPECT(tern_session_fork(NULL, &session) == TERN_USAGE);
  EXPECT(tern_session_fork(session, NULL) == TERN_USAGE);
  EXPECT(tern_session_mark(NULL) == TERN_USAGE);
  EXPECT(tern_session_truncate(NULL, 0) == TERN_USAGE);
  EXPECT(tern_session_truncate(session, SIZE_MAX) == TERN_USAGE);
  EXPECT(tern_session_save(NULL, "x", NULL) == TERN_USAGE);
  EXPECT(tern_session_save(session, NULL, NULL) == TERN_USAGE);
  EXPECT(tern_session_load(NULL, "x", &session, NULL) == TERN_USAGE);
  EXPECT(tern_session_load(model, NULL, &session, NULL) == TERN_USAGE);
  EXPECT(tern_session_load(model, "x", NULL, NULL) == TERN_USAGE);
  EXPECT(tern_cancel_new(NULL) == TERN_USAGE);
  tern_cancel_request(NULL);
  tern_cancel_reset(NULL);
  EXPECT(tern_session_read(NULL, wild, 1, NULL) == TERN_USAGE);
  EXPECT(tern_session_read(session, NULL, 1, NULL) == TERN_USAGE);
  EXPECT(tern_session_read(session, wild, 1, NULL) != TERN_OK);
  EXPECT(tern_session_read(session, wild, SIZE_MAX, NULL) == TERN_TOO_LARGE);
  EXPECT(tern_session_logits(NULL, &logits, &n) == TERN_USAGE);
  EXPECT(tern_session_logits(session, NULL, &n) == TERN_USAGE);
  EXPECT(tern_session_logits(session, &logits, &n) == TERN_USAGE);
  EXPECT(tern_session_tokens(NULL, &held, &n) == TERN_USAGE);
  EXPECT(tern_session_tokens(session, &held, NULL) == TERN_USAGE);
  EXPECT(tern_generate(NULL, wild, 1, NULL, NULL, NULL, NULL, NULL) == TERN_USAGE);
  EXPECT(tern_generate(session, wild, 1, NULL, NULL, NULL, NULL, NULL) != TERN_OK);
  EXPECT(tern_generate(session, wild, SIZE_MAX, NULL, NULL, NULL, NULL, NULL) == TERN_TOO_LARGE);

  const uint32_t fine[] = {1000};
  const char* const stops[] = {"x", NULL};
  tern_generate_options options = TERN_GENERATE_OPTIONS_INIT;
  options.temperature = NAN;
  EXPECT(tern_generate(session, fine, 1, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  options.temperature = INFINITY;
  EXPECT(tern_generate(session, fine, 1, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  options = (tern_generate_options)TERN_GENERATE_OPTIONS_INIT;
  options.top_p = NAN;
  EXPECT(tern_generate(session, fine, 1, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  options = (tern_generate_options)TERN_GENERATE_OPTIONS_INIT;
  options.stops = 2; /* and no stop */
  EXPECT(tern_generate(session, fine, 1, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  options.stop = stops;
  EXPECT(tern_generate(session, fine, 1, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  options.size = 3;
  EXPECT(tern_generate(session, fine, 1, &options, NULL, NULL, NULL, NULL) == TERN_USAGE);
  tern_load_options load_options = TERN_LOAD_OPTIONS_INIT;
  load_options.threads = SIZE_MAX;
  EXPECT(tern_model_load("demo", &load_options, &other) != TERN_OK && other == NULL);
  EXPECT(tern_model_load("", NULL, &other) == TERN_USAGE && other == NULL);
  EXPECT(strcmp(tern_status_name((tern_status)99), "unknown") == 0);
  EXPECT(strcmp(tern_status_name(TERN_OFFLINE), "offline") == 0);
  EXPECT(tern_session_position(session) == 0);
  EXPECT_OK(tern_session_read(session, fine, 1, NULL));
  tern_session_free(session);
}

int main(void) {
  EXPECT(tern_c_api_version() >= TERN_C_API_VERSION);
  EXPECT(tern_version()[0] >= '0' && tern_version()[0] <= '9');
  check_errors();
  tern_model* model = load();
  if (model == NULL) return 1;
  check_info(model);
  size_t count = 0;
  uint32_t* prompt = prompt_of(model, &count);
  uint32_t* ends = NULL;
  size_t end_count = 0;
  EXPECT_OK(tern_end_tokens(model, &ends, &end_count));
  EXPECT(end_count > 0);
  tern_free(ends);
  check_generate(model, prompt, count);
  check_hostile(model);

  char path[64];
  snprintf(path, sizeof path, "consumer_c.%lx.session", (unsigned long)(uintptr_t)prompt);
  check_sessions(model, prompt, count, path);

  /* Sessions keep the model that they belong to. */
  tern_session* last = NULL;
  EXPECT_OK(tern_session_new(model, NULL, &last));
  tern_model_free(model);
  EXPECT_OK(tern_session_read(last, prompt, count, NULL));
  tern_session_free(last);
  tern_free(prompt);
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
