/* One question, answered in the terminal: example_chat_c [model [question]]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/tern.h>

static int print_piece(void* user, const char* text, size_t bytes, int reasoning) {
  (void)user;
  fwrite(text, 1, bytes, reasoning ? stderr : stdout);
  fflush(reasoning ? stderr : stdout);
  return 1;
}

static int failed(void) {
  const tern_error* error = tern_last_error();
  fprintf(stderr, "%s: %s: %s\n", tern_status_name(error->status), error->where, error->what);
  if (error->hint[0] != '\0') fprintf(stderr, "hint: %s\n", error->hint);
  return EXIT_FAILURE;
}

/* [{"role": "user", "content": QUESTION}]; the caller frees it. */
static char* messages_of(const char* question) {
  char* json = malloc(6 * strlen(question) + 64);
  if (json == NULL) return NULL;
  static const char head[] = "[{\"role\": \"user\", \"content\": \"";
  memcpy(json, head, sizeof head - 1);
  char* to = json + sizeof head - 1;
  for (const char* from = question; *from != '\0'; ++from) {
    const unsigned char c = (unsigned char)*from;
    if (c == '"' || c == '\\') *to++ = '\\';
    if (c < 0x20) {
      to += snprintf(to, 7, "\\u%04x", c);
    } else {
      *to++ = (char)c;
    }
  }
  memcpy(to, "\"}]", 4);
  return json;
}

int main(int argc, char** argv) {
  tern_model* model = NULL;
  if (tern_model_load(argc > 1 ? argv[1] : "demo", NULL, &model) != TERN_OK) return failed();

  char* messages = messages_of(argc > 2 ? argv[2] : "Solve: 17 * 23");
  char* prompt = NULL;
  uint32_t* tokens = NULL;
  size_t count = 0;
  tern_session* session = NULL;
  tern_generation result = TERN_GENERATION_INIT;
  if (messages == NULL || tern_apply_chat_template(model, messages, NULL, &prompt) != TERN_OK ||
      tern_tokenize(model, prompt, strlen(prompt), 1, &tokens, &count) != TERN_OK ||
      tern_session_new(model, NULL, &session) != TERN_OK ||
      tern_generate(session, tokens, count, NULL, print_piece, NULL, NULL, &result) != TERN_OK)
    return failed();
  printf("\n");
  fprintf(stderr, "%zu tokens, %.1f a second\n", result.generated_tokens,
          (double)result.generated_tokens / result.decode_seconds);

  tern_session_free(session);
  tern_free(tokens);
  tern_free(prompt);
  free(messages);
  tern_model_free(model);
  return EXIT_SUCCESS;
}
