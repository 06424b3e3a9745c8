/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trains an autoencoder in C, stores it, loads it again and runs one row at a time through a session.
 *
 *     cc autoencoder.c $(python -m isthmus --includes) $(python -m isthmus --library) -lm -o autoencoder
 */
#include <isthmus/isthmus.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 500, FEATURES = 16, CODE = 2 };

static void check(isthmus_status status) {
    if (status == ISTHMUS_OK) return;
    fprintf(stderr, "isthmus: %s\n", isthmus_last_error());
    exit(1);
}

static int say(void* user, const isthmus_epoch* epoch) {
    (void)user;
    if (epoch->epoch % 10 == 0) printf("epoch %d: loss %.5f\n", (int)epoch->epoch, epoch->loss);
    return 0; /* go on */
}

int main(int argc, char** argv) {
    const char* const path = argc > 1 ? argv[1] : "autoencoder_c.safetensors";
    static float x[ROWS * FEATURES]; /* points on a curve in 16 dimensions */
    for (int r = 0; r < ROWS; ++r) {
        for (int c = 0; c < FEATURES; ++c) x[r * FEATURES + c] = sinf(0.01F * (float)r * (float)(1 + c % 4) + (float)c);
    }
    const isthmus_rows rows = {.data = x, .rows = ROWS, .cols = FEATURES};

    isthmus_model* model = NULL;
    check(isthmus_create(FEATURES,
                         "{\"encoder_layers\": [32, 2], \"activation\": \"tanh\", \"epochs\": 40,"
                         " \"batch_size\": 50, \"learning_rate\": 0.005, \"random_state\": 0}",
                         NULL, &model));
    isthmus_fit_options options = {.struct_size = sizeof options, .on_epoch_end = say};
    check(isthmus_fit(model, &rows, &options, NULL));
    check(isthmus_save(model, path, 0));
    isthmus_destroy(model);

    check(isthmus_load(path, NULL, &model));
    isthmus_session* session = NULL;
    check(isthmus_session_create(model, 1, 1, &session));
    float code[CODE];
    double error = 0.0;
    check(isthmus_session_encode(session, x, 1, code, CODE));
    check(isthmus_session_errors(session, x, 1, &error, 1));
    printf("the first row's code is (%.4f, %.4f), its error %.5f\n", code[0], code[1], error);
    isthmus_session_destroy(session);

    double score = 0.0;
    check(isthmus_score(model, &rows, NULL, 0, &score));
    printf("the mean error is %.5f\n", -score);
    isthmus_destroy(model);
    return -score < 0.05 ? 0 : 1;
}
