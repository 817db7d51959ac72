// How many primes there are up to a number: counted on a thread, so that the server goes on answering meanwhile.
#include <napi.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

class Count : public Napi::AsyncWorker {
public:
    Count(Napi::Env env, int64_t limit) : AsyncWorker(env), promise(Napi::Promise::Deferred::New(env)), limit(limit) {}
    const Napi::Promise::Deferred promise;

private:
    void Execute() override
    {
        if (limit < 2 || limit > 100'000'000)
            throw std::range_error("the limit must be from 2 to 100000000"); // rejects the promise
        std::vector<bool> composite(limit + 1);
        for (int64_t i = 2; i * i <= limit; i++)
            for (int64_t j = i * i; !composite[i] && j <= limit; j += i)
                composite[j] = true;
        count = std::count(composite.begin() + 2, composite.end(), false);
    }

    void OnOK() override { promise.Resolve(Napi::Number::New(Env(), count)); }
    void OnError(const Napi::Error &error) override { promise.Reject(error.Value()); }

    const int64_t limit;
    int64_t count = 0;
};

static Napi::Value CountPrimes(const Napi::CallbackInfo &info)
{
    auto *worker = new Count(info.Env(), info[0].ToNumber().Int64Value());
    worker->Queue();
    return worker->promise.Promise();
}

static Napi::Object Init(Napi::Env env, Napi::Object exports)
{
    exports["count"] = Napi::Function::New(env, CountPrimes);
    return exports;
}

NODE_API_MODULE(primes, Init)
