/* Generates text with a compiled model from C.
 *
 *   cc generate.c -leffrt -o generate
 *   ./generate model.eff "The river"
 */
#include <effrt/model.h>
#include <stdio.h>

static int print(void *user, const char *text, size_t bytes) {
  fwrite(text, 1, bytes, (FILE *)user);
  fflush((FILE *)user);
  return 0; /* anything else ends the text */
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL.eff PROMPT\n", argv[0]);
    return 1;
  }
  eff_file *file = eff_open(argv[1]);
  eff_session *session = file ? eff_session_create(file, NULL) : NULL;

  eff_generate_options options;
  eff_generate_defaults(&options);
  options.max_tokens = 64;
  eff_generate_result result;
  if (!session ||
      eff_generate(session, argv[2], &options, print, stdout, &result) != 0)
    fprintf(stderr, "%s\n", eff_last_error());
  else
    printf("\n%u tokens in %.2f s\n", result.generated_tokens,
           result.generate_seconds);

  int failed = eff_last_code() != 0;
  eff_session_destroy(session);
  eff_close(file);
  return failed;
}
