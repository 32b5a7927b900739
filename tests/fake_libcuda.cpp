// A stand-in for libcuda.so.1: one GPU whose memory is the host's and whose one kernel is x = factor x + 1, so that the
// real bindings can be called where there is no driver. Streams run at once; of a graph's nodes that are ready the last
// one made runs first, so that only what it comes after orders it.
//
// FAKE_VERSION, FAKE_INIT: what cuDriverGetVersion gives and cuInit answers; FAKE_LACKS: a function that is not there.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr int kSuccess = 0, kInvalid = 1, kNotFound = 500;

struct Args {
  float* x;
  unsigned n;
  float factor;
};

struct KernelNodeParams {
  void* function;
  unsigned grid[3], block[3], shared;
  void** arguments;
  void** extra;
  void* kernel;
  void* context;
};

struct Node {
  Args args;
  unsigned threads;
  std::vector<Node*> after;
};
using Graph = std::vector<Node*>;

unsigned g_shape[4] = {128, 100000, 8, 16};
int g_handle;  // whatever needs no state points here
std::vector<void*> g_contexts;

void run(const Args& args, unsigned threads) {
  for (unsigned i = 0; i < args.n && i < threads; ++i) args.x[i] = args.factor * args.x[i] + 1;
}

int number(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

// Anything that needs the context answers so without it.
int current() { return g_contexts.empty() ? 201 : kSuccess; }

int give(void** handle) {
  *handle = &g_handle;
  return kSuccess;
}

int device_attribute(int* value, int which, int) {
  const std::map<int, int> known = {{75, 9}, {76, 0}, {16, 132}, {97, 232448}};
  *value = known.count(which) ? known.at(which) : 1000 + which;
  return kSuccess;
}

int pop(void** context) {
  if (g_contexts.empty()) return kInvalid;
  *context = g_contexts.back();
  g_contexts.pop_back();
  return kSuccess;
}

int allocate(void** address, std::size_t bytes) {
  if (current()) return current();
  *address = bytes > 1u << 30 ? nullptr : std::malloc(bytes);
  return *address ? kSuccess : 2;
}

int move(void* to, const void* from, std::size_t bytes, void*) {
  std::memmove(to, from, bytes);
  return current();
}

int function(void** handle, void*, const char* name) { return std::string(name) == "scale" ? give(handle) : kNotFound; }

int global(void** address, std::size_t* bytes, void*, const char* name) {
  *address = g_shape;
  *bytes = sizeof g_shape;
  return std::string(name) == "scale_shape" ? kSuccess : kNotFound;
}

int launch(void*, unsigned x, unsigned y, unsigned, unsigned threads, unsigned, unsigned, unsigned, void*, void** args,
           void**) {
  run(*static_cast<Args*>(args[0]), x * y * threads);
  return current();
}

int add_node(void** node, Graph* graph, Node** after, std::size_t n, const KernelNodeParams* p) {
  if (p->shared != g_shape[1] || p->function != &g_handle) return kInvalid;
  const unsigned threads = p->grid[0] * p->grid[1] * p->grid[2] * p->block[0];
  graph->push_back(new Node{*static_cast<Args*>(p->arguments[0]), threads, {after, after + n}});
  *node = graph->back();
  return current();
}

int launch_graph(const Graph* graph, void*) {
  Graph waiting = *graph;
  const auto ready = [&](const Node* node) {
    for (const Node* other : waiting)
      for (const Node* first : node->after)
        if (other == first) return false;
    return true;
  };
  while (!waiting.empty())
    for (std::size_t i = waiting.size(); i-- > 0;)
      if (ready(waiting[i])) {
        run(waiting[i]->args, waiting[i]->threads);
        waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
  return current();
}

const std::map<std::string, void*> kFunctions = {
    {"cuDeviceGetCount", (void*)+[](int* n) { return *n = 1, kSuccess; }},
    {"cuDeviceGet", (void*)+[](int* device, int n) { return *device = n, kSuccess; }},
    {"cuDeviceGetName", (void*)+[](char* name, int n, int) { return std::strncpy(name, "Fake GPU", n), kSuccess; }},
    {"cuDeviceTotalMem", (void*)+[](std::size_t* n, int) { return *n = 1u << 30, kSuccess; }},
    {"cuDeviceGetAttribute", (void*)device_attribute},
    {"cuDevicePrimaryCtxRetain", (void*)+[](void** context, int) { return give(context); }},
    {"cuCtxPushCurrent", (void*)+[](void* context) { return g_contexts.push_back(context), kSuccess; }},
    {"cuCtxPopCurrent", (void*)pop},
    {"cuStreamCreate", (void*)+[](void** stream, unsigned) { return give(stream); }},
    {"cuStreamWaitEvent", (void*)+[](void*, void*, unsigned) { return current(); }},
    {"cuEventCreate", (void*)+[](void** event, unsigned) { return give(event); }},
    {"cuEventRecord", (void*)+[](void*, void*) { return current(); }},
    {"cuEventQuery", (void*)+[](void*) { return current(); }},
    {"cuEventDestroy", (void*)+[](void*) { return current(); }},
    {"cuMemGetInfo",
     (void*)+[](std::size_t* free, std::size_t* all) { return *free = 1000, *all = 1u << 30, current(); }},
    {"cuMemAlloc", (void*)allocate},
    {"cuMemHostAlloc", (void*)+[](void** address, std::size_t bytes, unsigned) { return allocate(address, bytes); }},
    {"cuMemFree", (void*)+[](void* address) { return std::free(address), current(); }},
    {"cuMemFreeHost", (void*)+[](void* address) { return std::free(address), current(); }},
    {"cuMemcpyHtoDAsync", (void*)move},
    {"cuMemcpyDtoHAsync", (void*)move},
    {"cuMemcpyDtoDAsync", (void*)move},
    {"cuMemsetD8Async",
     (void*)+[](void* to, unsigned char byte, std::size_t n, void*) { return std::memset(to, byte, n), current(); }},
    {"cuModuleLoadData", (void*)+[](void** module, const void*) { return give(module); }},
    {"cuModuleGetFunction", (void*)function},
    {"cuModuleGetGlobal", (void*)global},
    {"cuFuncSetAttribute",
     (void*)+[](void*, int which, int n) { return which == 8 && n == 100000 ? current() : kInvalid; }},
    {"cuLaunchKernel", (void*)launch},
    {"cuGraphCreate", (void*)+[](void** graph, unsigned) { return *graph = new Graph, current(); }},
    {"cuGraphAddKernelNode", (void*)add_node},
    {"cuGraphInstantiate",
     (void*)+[](void** made, Graph* graph, unsigned long long) { return *made = new Graph(*graph), current(); }},
    {"cuGraphInstantiateWithFlags",
     (void*)+[](void** made, Graph* graph, unsigned long long) { return *made = new Graph(*graph), current(); }},
    {"cuGraphUpload", (void*)+[](void*, void*) { return current(); }},
    {"cuGraphLaunch", (void*)launch_graph},
    {"cuGraphDestroy", (void*)+[](Graph* graph) { return delete graph, current(); }},
    {"cuGraphExecDestroy", (void*)+[](Graph* graph) { return delete graph, current(); }},
};

}  // namespace

extern "C" {

int cuInit(unsigned) { return number("FAKE_INIT", kSuccess); }

int cuDriverGetVersion(int* version) {
  *version = number("FAKE_VERSION", 13000);
  return kSuccess;
}

int cuGetErrorString(int status, const char** text) {
  *text = status == 100 ? "no CUDA-capable device is detected" : "a text";
  return kSuccess;
}

int cuGetProcAddress_v2(const char* name, void** address, int, std::uint64_t, int* found) {
  static std::map<std::string, void*> known = kFunctions;
  known["cuInit"] = (void*)cuInit;
  known["cuDriverGetVersion"] = (void*)cuDriverGetVersion;
  known["cuGetErrorString"] = (void*)cuGetErrorString;
  known["cuGetProcAddress"] = known["cuGetProcAddress_v2"] = (void*)cuGetProcAddress_v2;
  const char* lacks = std::getenv("FAKE_LACKS");
  const auto entry = known.find(name);
  const bool there = entry != known.end() && (!lacks || entry->first != lacks);
  *address = there ? entry->second : nullptr;
  if (found) *found = there ? 0 : 1;
  return there ? kSuccess : kNotFound;
}

int cuGetProcAddress(const char* name, void** address, int version, std::uint64_t flags) {
  return cuGetProcAddress_v2(name, address, version, flags, nullptr);
}
}
