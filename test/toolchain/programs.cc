// What C++ programs ask of a toolchain: each check says its name if it fails.
#include <atomic>
#include <cmath>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

extern "C" int thrower(int value);

static thread_local int mine = 3;
static int failures = 0;

static void check(const char *name, bool holds)
{
    if (!holds) {
        std::cout << "failed: " << name << "\n";
        failures++;
    }
}

namespace fs = std::filesystem;

// libstdc++ has of it what its configure script could link.
static bool filesystem()
{
    const fs::path root = fs::temp_directory_path() / "programs";
    fs::create_directories(root / "a/b");
    std::ofstream(root / "a/file") << "content";
    fs::permissions(root / "a/file", fs::perms::owner_read);
    fs::create_symlink("file", root / "a/link");
    fs::create_hard_link(root / "a/file", root / "a/same");
    fs::last_write_time(root / "a/file", fs::file_time_type{});
    fs::copy(root / "a", root / "copy", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    fs::resize_file(root / "copy/same", 3);
    const bool right = fs::is_directory(root / "copy/b") && fs::is_regular_file(root / "copy/file") &&
                       fs::read_symlink(root / "copy/link") == "file" && fs::file_size(root / "copy/same") == 3 &&
                       fs::hard_link_count(root / "a/same") == 2 && fs::equivalent(root / "a/file", root / "a/same") &&
                       fs::last_write_time(root / "a/same") == fs::file_time_type{} &&
                       fs::canonical(root / "a/../a/link") == root / "a/file" && fs::space(root).capacity > 0;
    return fs::remove_all(root) == 11 && !fs::exists(root) && right;
}

int main(int argc, char **argv)
{
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([&sum, i] {
            mine += i;
            sum += mine;
        });
    for (auto &thread : threads)
        thread.join();
    check("threads and thread-local storage", sum == 8 * 3 + 28 && mine == 3);

    struct alignas(16) Pair { long a, b; };
    std::atomic<Pair> pair{Pair{1, 2}};
    Pair expected{1, 2};
    check("atomics of 16 bytes", pair.compare_exchange_strong(expected, Pair{3, 4}) && pair.load().b == 4);

    try {
        thrower(7);
        check("an exception across libraries", false);
    } catch (const std::out_of_range &error) {
        check("an exception across libraries", std::string(error.what()) == "thrown 7");
    }

    std::ostringstream text;
    text << std::hex << 255 << ' ' << std::scientific << 1234.5;
    check("streams", text.str() == "ff 1.234500e+03");
    check("mathematics", std::abs(std::sin(1.0) - 0.8414709848078965) < 1e-15);

    check("files", filesystem());

    if (argc > 1) {
        void *library = dlopen(argv[1], RTLD_NOW);
        auto answer = library ? reinterpret_cast<int (*)()>(dlsym(library, "answer")) : nullptr;
        check(library ? "dlsym" : dlerror(), answer && answer() == 42);
    }
    std::cout << (failures ? "bad" : "good") << std::endl;
    return failures;
}
