/* A libnvinfer without NVIDIA's code: enough of one for the real Python bindings of TensorRT 10.16 and 11.4 to build,
 * load and run an "engine" on a machine that has neither TensorRT nor a GPU. The bindings themselves then check the
 * name, the number and the types of everything that they are called with.
 *
 * An object of the interface is {vtable, implementation}, and its methods call the implementation's vtable. Here one
 * object answers every call with itself, at an address that reads as `true`; what needs an answer of its own has a
 * function in its slot. Slots follow the order of the interface's abstract classes, which differs between the two
 * versions (x86-64, System V). Device addresses are addresses of host memory.
 *
 * gcc -shared -fPIC -O1 -DTRT=11 fake.c -Wl,-soname,libnvinfer.so.11 -o libnvinfer.so.11
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 512, TENSORS = 8, PROFILES = 4, NAME = 64, TEXT = 16384 };

#if TRT == 11
enum { B_NETWORK = 6, B_PROFILE = 7, B_BUILD = 11, B_CONFIG = 5,
       C_CLEAR = 8, C_SET = 9, C_ADD = 23, C_SET_TIMING = 30, C_POOL = 32,
       P_ERRORS = 3, P_ERROR = 4,
       E_PROFILES = 8, E_SHAPE = 15, E_DTYPE = 16, E_MODE = 19, E_RANGE = 25, E_COUNT = 26, E_NAME = 27,
       X_PROFILE = 16, X_SET_SHAPE = 20, X_SHAPE = 21, X_ADDRESS = 23, X_ENQUEUE = 36, R_HOST_CODE = 20, L_LOG = 4 };
#else
enum { B_NETWORK = 8, B_PROFILE = 9, B_BUILD = 14, B_CONFIG = 7,
       C_CLEAR = 10, C_SET = 11, C_ADD = 25, C_SET_TIMING = 41, C_POOL = 43,
       P_ERRORS = 5, P_ERROR = 6,
       E_PROFILES = 10, E_SHAPE = 19, E_DTYPE = 20, E_MODE = 23, E_RANGE = 29, E_COUNT = 30, E_NAME = 31,
       X_PROFILE = 17, X_SET_SHAPE = 21, X_SHAPE = 22, X_ADDRESS = 24, X_ENQUEUE = 37, R_HOST_CODE = 21, L_LOG = 0 };
#endif

/* What a test sets, and what it reads. */
int fake_reject_graph, fake_fail_build, fake_fail_enqueue, fake_refuse_address, fake_refuse_profile, fake_refuse_objects;
int fake_builds, fake_enqueues, fake_host_code;
uint32_t fake_network_flags, fake_flags_set, fake_flags_cleared;
uint64_t fake_workspace;
char fake_parsed[1024];

typedef struct { int32_t n; int64_t d[8]; } dims;
typedef struct { char name[NAME]; int mode, dtype; dims shape; } tensor;
typedef struct { dims range[TENSORS][3]; } ranges;
typedef struct { int tensors, profiles; tensor tensor[TENSORS]; ranges profile[PROFILES]; } description;
typedef struct { void **vtable; void *impl; } outer;

static struct { void *vtable; const char *name; } rtti = { NULL, "7AnyFake" };
static char pool[1024] __attribute__((aligned(256)));
#define ANY ((outer *)(pool + 1))
static void *any_table[SLOTS + 2];
static void *logger;

static void *itself(void) { return ANY; }

static void complain(const char *words) {
    if (logger) (*(void (***)(void *, int32_t, const char *))logger)[L_LOG](logger, 1, words);
}

/* A vtable of its own for a kind of object, answering with ANY where nothing is set. */
static void **table(void **memory) {
    memory[1] = &rtti;
    for (int i = 2; i < SLOTS + 2; i++) memory[i] = (void *)itself;
    return memory + 2;
}

/* An object whose implementation begins with {vtable, outer} and goes on with `bytes` of state. */
typedef struct { void **vtable; outer *object; } head;
static void *implement(void **vtable, size_t bytes) {
    head *impl = calloc(1, sizeof(head) + bytes);
    outer *object = calloc(1, sizeof(outer) + 64);
    impl->vtable = vtable; impl->object = object;
    object->vtable = any_table + 2; object->impl = impl;
    return impl;
}

/* --- tensors: what the graph is said to have ------------------------------------------------------------------- */

static description described;
static int tensor_of(description *all, const char *name) {
    for (int i = 0; i < all->tensors; i++) if (!strcmp(all->tensor[i].name, name)) return i;
    return -1;
}

/* "name mode dtype rank sizes..." per line; then, in a plan, "profile name 3 x sizes..." */
static int read_description(description *into, const char *text) {
    char word[NAME]; int used; memset(into, 0, sizeof *into);
    while (sscanf(text, " %63s%n", word, &used) == 1) {
        text += used;
        int number = -1;
        if (!strcmp(word, "profile")) {
            if (sscanf(text, "%d %63s%n", &number, word, &used) != 2) return 0;
            text += used;
            int t = tensor_of(into, word);
            if (t < 0 || number < 0 || number >= PROFILES) return 0;
            if (number >= into->profiles) into->profiles = number + 1;
            for (int k = 0; k < 3; k++) {
                dims *d = &into->profile[number].range[t][k]; d->n = into->tensor[t].shape.n;
                for (int i = 0; i < d->n; i++) { long long v; if (sscanf(text, "%lld%n", &v, &used) != 1) return 0; d->d[i] = v; text += used; }
            }
        } else {
            if (into->tensors == TENSORS) return 0;
            tensor *t = &into->tensor[into->tensors]; strcpy(t->name, word);
            if (sscanf(text, "%d %d %d%n", &t->mode, &t->dtype, &t->shape.n, &used) != 3) return 0;
            text += used;
            for (int i = 0; i < t->shape.n; i++) { long long v; if (sscanf(text, "%lld%n", &v, &used) != 1) return 0; t->shape.d[i] = v; text += used; }
            into->tensors++;
        }
    }
    return into->tensors > 0;
}
int fake_describe(const char *text) { return read_description(&described, text); }

/* --- optimisation profiles and configuration -------------------------------------------------------------------- */

typedef struct { head head; ranges shapes; } profile;
static void *profile_table[SLOTS + 2], *config_table[SLOTS + 2];
static ranges added[PROFILES]; static int added_count;

static _Bool set_dimensions(profile *self, const char *name, int32_t which, const dims *d) {
    int t = tensor_of(&described, name);
    if (t < 0 || d->n != described.tensor[t].shape.n) return 0;
    self->shapes.range[t][which] = *d;
    return 1;
}
static void *create_profile(void) { return ((head *)implement(profile_table + 2, sizeof(profile) - sizeof(head)))->object; }
static int32_t add_profile(void *self, const outer *given) {
    (void)self;
    const profile *p = given->impl;
    for (int t = 0; t < described.tensors; t++)
        if (described.tensor[t].mode == 1)
            for (int i = 0; i < described.tensor[t].shape.n; i++) {
                int64_t fixed = described.tensor[t].shape.d[i], low = p->shapes.range[t][0].d[i];
                if (p->shapes.range[t][0].n == 0 || (fixed >= 0 && (low != fixed || p->shapes.range[t][2].d[i] != fixed)))
                    return -1;
            }
    added[added_count] = p->shapes;
    return added_count++;
}
static void clear_flag(void *self, int32_t flag) { (void)self; fake_flags_cleared |= 1u << flag; }
static void set_flag(void *self, int32_t flag) { (void)self; fake_flags_set |= 1u << flag; }
static void set_pool(void *self, int32_t kind, size_t bytes) { (void)self; if (kind == 0) fake_workspace = bytes; }

/* --- host memory, builder, parser ---------------------------------------------------------------------------------*/

typedef struct { head head; char text[TEXT]; } memory;
static void *memory_table[SLOTS + 2], *builder_table[SLOTS + 2], *parser_table[SLOTS + 2], *error_table[SLOTS + 2];
static void *timing_table[SLOTS + 2];
static const void *data_of(memory *self) { return self->text; }
static size_t size_of(memory *self) { return strlen(self->text); }
static int32_t type_of(void) { return 2; }
static memory *remember(const char *text) {
    memory *m = implement(memory_table + 2, sizeof(memory) - sizeof(head));
    strncpy(m->text, text, TEXT - 1);
    return m;
}
static void *serialize_timing(void) { return remember("FAKETIMES")->head.object; }
static void *create_network(void *self, uint32_t flags) { (void)self; fake_network_flags = flags; return ANY; }
static head *config_impl, *timing_impl;
static void *create_config(void) { added_count = 0; return config_impl->object; }
static void *create_timing(void) { return timing_impl->object; }
static void *build(void) {
    fake_builds++;
    if (fake_fail_build) { complain("Internal Error: no implementation for node conv_7"); return NULL; }
    memory *m = remember("FAKEPLAN\n");
    char *at = m->text + strlen(m->text), *end = m->text + TEXT;
    for (int t = 0; t < described.tensors; t++) {
        const tensor *x = &described.tensor[t];
        at += snprintf(at, end - at, "%s %d %d %d", x->name, x->mode, x->dtype, x->shape.n);
        for (int i = 0; i < x->shape.n; i++) at += snprintf(at, end - at, " %lld", (long long)x->shape.d[i]);
        at += snprintf(at, end - at, "\n");
    }
    for (int p = 0; p < added_count; p++)
        for (int t = 0; t < described.tensors; t++) {
            if (described.tensor[t].mode != 1) continue;
            at += snprintf(at, end - at, "profile %d %s", p, described.tensor[t].name);
            for (int k = 0; k < 3; k++)
                for (int i = 0; i < described.tensor[t].shape.n; i++)
                    at += snprintf(at, end - at, " %lld", (long long)added[p].range[t][k].d[i]);
            at += snprintf(at, end - at, "\n");
        }
    return m->head.object;
}
static _Bool parse_file(void *self, const char *path, int32_t verbosity) {
    (void)self; (void)verbosity;
    strncpy(fake_parsed, path, sizeof fake_parsed - 1);
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    fclose(file);
    return !fake_reject_graph;
}
static int32_t error_count(void) { return fake_reject_graph; }
static void *error_at(void) { static void *object[1]; object[0] = error_table + 2; return object; }
static const char *error_reason(void) { return "Unsupported data type:\n  uint8 "; }
static const char *error_node(void) { return "node_7"; }
static const char *error_operator(void) { return "Transpose"; }

/* --- engine and contexts ------------------------------------------------------------------------------------------*/

typedef struct { head head; description all; int contexts; } engine;
typedef struct { head head; engine *of; int profile; dims shape[TENSORS]; void *address[TENSORS]; } context;
static void *engine_table[SLOTS + 2], *context_table[SLOTS + 2], *runtime_table[SLOTS + 2];

static void *deserialize(void *self, const char *bytes, size_t size) {
    (void)self;
    if (size < 9 || size >= TEXT || memcmp(bytes, "FAKEPLAN\n", 9)) { complain("Serialization Error: magic tag does not match"); return NULL; }
    char text[TEXT]; memcpy(text, bytes + 9, size - 9); text[size - 9] = 0;
    engine *e = implement(engine_table + 2, sizeof(engine) - sizeof(head));
    return read_description(&e->all, text) ? e->head.object : NULL;
}
static void allow_host_code(void *self, _Bool allowed) { (void)self; fake_host_code = allowed; }
static int32_t engine_profiles(engine *e) { return e->all.profiles; }
static int32_t engine_count(engine *e) { return e->all.tensors; }
static const char *engine_name(engine *e, int32_t i) { return e->all.tensor[i].name; }
static int32_t engine_mode(engine *e, const char *name) { int t = tensor_of(&e->all, name); return t < 0 ? 0 : e->all.tensor[t].mode; }
static int32_t engine_dtype(engine *e, const char *name) { int t = tensor_of(&e->all, name); return t < 0 ? 0 : e->all.tensor[t].dtype; }
static dims *engine_shape(dims *result, engine *e, const char *name) { int t = tensor_of(&e->all, name); result->n = -1; if (t >= 0) *result = e->all.tensor[t].shape; return result; }
static dims *engine_range(dims *result, engine *e, const char *name, int32_t number, int32_t which) {
    int t = tensor_of(&e->all, name);
    result->n = -1;
    if (t >= 0 && number >= 0 && number < e->all.profiles) *result = e->all.profile[number].range[t][which];
    return result;
}
static void *create_context(engine *e) {
    context *c = implement(context_table + 2, sizeof(context) - sizeof(head));
    /* The first context has the first profile, the others have none until they are told. */
    c->of = e; c->profile = e->contexts++ ? -1 : 0;
    return c->head.object;
}
static _Bool choose_profile(context *c, int32_t number) {
    if (number < 0 || number >= c->of->all.profiles || fake_refuse_profile) return 0;
    c->profile = number; memset(c->shape, 0, sizeof c->shape);
    return 1;
}
static _Bool set_shape(context *c, const char *name, const dims *d) {
    description *all = &c->of->all; int t = tensor_of(all, name);
    if (t < 0 || c->profile < 0 || d->n != all->tensor[t].shape.n) return 0;
    for (int i = 0; i < d->n; i++)
        if (d->d[i] < all->profile[c->profile].range[t][0].d[i] || d->d[i] > all->profile[c->profile].range[t][2].d[i]) {
            complain("set_input_shape: outside of the profile");
            return 0;
        }
    c->shape[t] = *d;
    return 1;
}
static dims *get_shape(dims *result, context *c, const char *name) {
    description *all = &c->of->all; int t = tensor_of(all, name);
    result->n = -1;
    if (t < 0) return result;
    *result = all->tensor[t].shape;
    if (all->tensor[t].mode == 1 && c->shape[t].n) *result = c->shape[t];
    if (all->tensor[t].mode == 2 && result->d[0] < 0) result->d[0] = c->shape[0].n ? c->shape[0].d[0] : -1;
    return result;
}
static _Bool set_address(context *c, const char *name, void *address) {
    int t = tensor_of(&c->of->all, name);
    if (t < 0 || fake_refuse_address) return 0;
    c->address[t] = address;
    return 1;
}
/* Row b of an output holds a sum over row b of every input, each element with its own weight, plus its own index. */
static _Bool enqueue(context *c) {
    description *all = &c->of->all; int64_t rows = c->shape[0].d[0];
    fake_enqueues++;
    if (fake_fail_enqueue) { complain("enqueueV3: Cuda Runtime (an illegal memory access was encountered)"); return 0; }
    for (int t = 0; t < all->tensors; t++) if (!c->address[t] || (all->tensor[t].mode == 1 && !c->shape[t].n)) return 0;
    for (int64_t b = 0; b < rows; b++) {
        double sum = 0;
        for (int t = 0; t < all->tensors; t++) {
            if (all->tensor[t].mode != 1) continue;
            int64_t n = 1; for (int i = 1; i < c->shape[t].n; i++) n *= c->shape[t].d[i];
            for (int64_t j = 0; j < n; j++)
                sum += (double)(1 + j % 7) * (all->tensor[t].dtype == 5 ? (double)((uint8_t *)c->address[t])[b * n + j] : (double)((float *)c->address[t])[b * n + j]);
        }
        for (int t = 0; t < all->tensors; t++) {
            if (all->tensor[t].mode != 2) continue;
            int64_t n = 1; for (int i = 1; i < all->tensor[t].shape.n; i++) n *= all->tensor[t].shape.d[i];
            for (int64_t j = 0; j < n; j++) ((float *)c->address[t])[b * n + j] = (float)(sum + (double)j);
        }
    }
    return 1;
}

/* What was queued last, once more: the kernels of a recorded graph. */
static context *last;
static _Bool enqueue_and_remember(context *c) { last = c; return enqueue(c); }
void fake_replay(void) { enqueue(last); }

#define ANSWER(kind, slot, function) kind##_table[2 + (slot)] = (void *)(function)
static head *builder_impl, *parser_impl, *runtime_impl;
__attribute__((constructor)) static void begin(void) {
    table(any_table); ANY->vtable = any_table + 2; ANY->impl = ANY;
    table(profile_table); ANSWER(profile, 2, set_dimensions);
    table(config_table); ANSWER(config, C_CLEAR, clear_flag); ANSWER(config, C_SET, set_flag); ANSWER(config, C_POOL, set_pool);
    ANSWER(config, C_ADD, add_profile); ANSWER(config, C_SET_TIMING - 1, create_timing); ANSWER(config, C_SET_TIMING + 1, create_timing);
    config_impl = implement(config_table + 2, 0);
    table(timing_table); ANSWER(timing, 2, serialize_timing); timing_impl = implement(timing_table + 2, 0);
    table(memory_table); ANSWER(memory, 2, data_of); ANSWER(memory, 3, size_of); ANSWER(memory, 4, type_of);
    table(builder_table); ANSWER(builder, B_NETWORK, create_network); ANSWER(builder, B_PROFILE, create_profile);
    ANSWER(builder, B_CONFIG, create_config); ANSWER(builder, B_BUILD, build);
    builder_impl = implement(builder_table + 2, 0);
    table(error_table); ANSWER(error, 1, error_reason); ANSWER(error, 6, error_node); ANSWER(error, 7, error_operator);
    /* The parser's interface is abstract itself: its methods are called on the object. */
    table(parser_table); ANSWER(parser, 1, parse_file); ANSWER(parser, P_ERRORS, error_count); ANSWER(parser, P_ERROR, error_at);
    parser_impl = implement(parser_table + 2, 0); parser_impl->object->vtable = parser_table + 2;
    table(engine_table); ANSWER(engine, 5, create_context); ANSWER(engine, E_PROFILES, engine_profiles);
    ANSWER(engine, E_SHAPE, engine_shape); ANSWER(engine, E_DTYPE, engine_dtype); ANSWER(engine, E_MODE, engine_mode);
    ANSWER(engine, E_RANGE, engine_range); ANSWER(engine, E_COUNT, engine_count); ANSWER(engine, E_NAME, engine_name);
    table(context_table); ANSWER(context, X_PROFILE, choose_profile); ANSWER(context, X_SET_SHAPE, set_shape);
    ANSWER(context, X_SHAPE, get_shape); ANSWER(context, X_ADDRESS, set_address); ANSWER(context, X_ENQUEUE, enqueue_and_remember);
    table(runtime_table); ANSWER(runtime, 3, deserialize); ANSWER(runtime, R_HOST_CODE, allow_host_code);
    runtime_impl = implement(runtime_table + 2, 0);
}

void *createInferBuilder_INTERNAL(void *l, int32_t v) { (void)v; logger = l; return fake_refuse_objects ? NULL : builder_impl->object; }
void *createInferRuntime_INTERNAL(void *l, int32_t v) { (void)v; logger = l; return fake_refuse_objects ? NULL : runtime_impl->object; }
void *createInferRefitter_INTERNAL(void *e, void *l, int32_t v) { (void)e; (void)l; (void)v; return ANY; }
void *createNvOnnxParser_INTERNAL(void *n, void *l, int32_t v) { (void)n; (void)l; (void)v; return parser_impl->object; }
void *createNvOnnxParserRefitter_INTERNAL(void *r, void *l, int32_t v) { (void)r; (void)l; (void)v; return ANY; }
void *getPluginRegistry(void) { return ANY; }
void *getBuilderPluginRegistry(int32_t c) { (void)c; return ANY; }
int32_t getNvOnnxParserVersion(void) { return 0; }
_Bool initLibNvInferPlugins(void *l, const char *n) { (void)l; (void)n; return 1; }
