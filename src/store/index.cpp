#include "store/index.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <string>

#include "base/result.h"

namespace dure::store {

struct Index::Node {
  std::atomic<uint32_t> references{1};
  const bool leaf;
  uint16_t count = 0;
  explicit Node(bool leaf_node) : leaf(leaf_node) {}
};

namespace {

using Node = Index::Node;
constexpr size_t leaf_max = 64, branch_max = 32;

struct Leaf : Node {
  std::array<RecordRef, leaf_max> records;
  Leaf() : Node(true) {}
};

struct Branch : Node {
  size_t total = 0;                         // records below
  std::array<std::string, branch_max> low;  // smallest key child i may hold; low[0] is not used
  std::array<Node*, branch_max> children = {};
  Branch() : Node(false) {}
};

Leaf& as_leaf(Node* node) { return *static_cast<Leaf*>(node); }
Branch& as_branch(Node* node) { return *static_cast<Branch*>(node); }
size_t total(Node* node) { return node->leaf ? node->count : as_branch(node).total; }

Node* share(Node* node) {
  if (node) node->references.fetch_add(1, std::memory_order_relaxed);
  return node;
}

void release(Node* node) {
  if (!node || node->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (node->leaf) {
    delete &as_leaf(node);
    return;
  }
  Branch& branch = as_branch(node);
  for (size_t i = 0; i < branch.count; ++i) release(branch.children[i]);
  delete &branch;
}

Node* clone(Node* node) {
  if (node->leaf) {
    auto* copy = new Leaf;
    copy->count = node->count;
    std::copy_n(as_leaf(node).records.begin(), node->count, copy->records.begin());
    return copy;
  }
  Branch& from = as_branch(node);
  auto* copy = new Branch;
  copy->count = from.count;
  copy->total = from.total;
  std::copy_n(from.low.begin(), from.count, copy->low.begin());
  for (size_t i = 0; i < from.count; ++i) copy->children[i] = share(from.children[i]);
  return copy;
}

// After this the slot's node is held by nobody else and may be changed.
Node* own(Node*& slot) {
  // acquire: a reader that has just let go of the node has finished reading it
  if (slot->references.load(std::memory_order_acquire) == 1) return slot;
  Node* copy = clone(slot);
  release(slot);
  return slot = copy;
}

size_t lower_bound(const Leaf& leaf, std::string_view key) {
  auto end = leaf.records.begin() + leaf.count;
  auto at = std::lower_bound(leaf.records.begin(), end, key,
                             [](const RecordRef& a, std::string_view b) { return a->key() < b; });
  return static_cast<size_t>(at - leaf.records.begin());
}

size_t child_for(const Branch& branch, std::string_view key) {
  auto end = branch.low.begin() + branch.count;
  auto at = std::upper_bound(branch.low.begin() + 1, end, key,
                             [](std::string_view a, const std::string& b) { return a < b; });
  return static_cast<size_t>(at - branch.low.begin()) - 1;
}

struct Split {
  std::string low;
  Node* right = nullptr;
};

void insert_at(Leaf& leaf, size_t at, RecordRef record) {
  auto begin = leaf.records.begin();
  std::move_backward(begin + at, begin + leaf.count, begin + leaf.count + 1);
  leaf.records[at] = std::move(record);
  ++leaf.count;
}

void insert_at(Branch& branch, size_t at, Split split) {
  std::move_backward(branch.low.begin() + at, branch.low.begin() + branch.count, branch.low.begin() + branch.count + 1);
  auto begin = branch.children.begin();
  std::move_backward(begin + at, begin + branch.count, begin + branch.count + 1);
  branch.low[at] = std::move(split.low);
  branch.children[at] = split.right;
  ++branch.count;
}

// Where to cut a full node before inserting at `at`: keys that arrive in order leave full nodes behind.
size_t cut_for(size_t at, size_t count) { return at == count ? count : count / 2; }

Leaf* split_leaf(Leaf& leaf, size_t cut) {
  auto* right = new Leaf;
  std::move(leaf.records.begin() + cut, leaf.records.begin() + leaf.count, right->records.begin());
  right->count = static_cast<uint16_t>(leaf.count - cut);
  leaf.count = static_cast<uint16_t>(cut);
  return right;
}

std::optional<Split> put_leaf(Leaf& leaf, RecordRef record, RecordRef& previous) {
  size_t at = lower_bound(leaf, record->key());
  if (at < leaf.count && leaf.records[at]->key() == record->key()) {
    previous = std::exchange(leaf.records[at], std::move(record));
    return {};
  }
  if (leaf.count < leaf_max) {
    insert_at(leaf, at, std::move(record));
    return {};
  }
  size_t cut = cut_for(at, leaf.count);
  Leaf* right = split_leaf(leaf, cut);
  if (at >= cut) {
    insert_at(*right, at - cut, std::move(record));
  } else {
    insert_at(leaf, at, std::move(record));
  }
  return Split{std::string(right->records[0]->key()), right};
}

void recount(Branch& branch) {
  branch.total = 0;
  for (size_t i = 0; i < branch.count; ++i) branch.total += total(branch.children[i]);
}

Split split_branch(Branch& branch, size_t cut) {
  auto* right = new Branch;
  right->count = static_cast<uint16_t>(branch.count - cut);
  std::move(branch.low.begin() + cut, branch.low.begin() + branch.count, right->low.begin());
  std::copy(branch.children.begin() + cut, branch.children.begin() + branch.count, right->children.begin());
  branch.count = static_cast<uint16_t>(cut);
  return {right->low[0], right};
}

std::optional<Split> put_node(Node*& slot, RecordRef record, RecordRef& previous) {
  Node* node = own(slot);
  if (node->leaf) return put_leaf(as_leaf(node), std::move(record), previous);
  Branch& branch = as_branch(node);
  size_t at = child_for(branch, record->key());
  auto below = put_node(branch.children[at], std::move(record), previous);
  if (!previous) ++branch.total;
  if (!below) return {};
  ++at;
  if (branch.count < branch_max) {
    insert_at(branch, at, std::move(*below));
    return {};
  }
  size_t cut = cut_for(at, branch.count);
  if (cut == branch.count) {  // the new child alone begins the right node
    auto* right = new Branch;
    right->low[0] = below->low;
    right->children[0] = below->right;
    right->count = 1;
    recount(*right);
    recount(branch);
    return Split{std::move(below->low), right};
  }
  Split split = split_branch(branch, cut);
  Branch& right = as_branch(split.right);
  if (at > cut) {
    insert_at(right, at - cut, std::move(*below));
  } else {
    insert_at(branch, at, std::move(*below));
  }
  recount(branch);
  recount(right);
  return split;
}

void remove_child(Branch& branch, size_t at) {
  std::move(branch.low.begin() + at + 1, branch.low.begin() + branch.count, branch.low.begin() + at);
  auto begin = branch.children.begin();
  std::move(begin + at + 1, begin + branch.count, begin + at);
  --branch.count;
}

// Appends the content of child at+1 to child at.
void merge_children(Branch& branch, size_t at) {
  Node* left = own(branch.children[at]);
  Node* right = own(branch.children[at + 1]);
  if (left->leaf) {
    auto from = as_leaf(right).records.begin();
    std::move(from, from + right->count, as_leaf(left).records.begin() + left->count);
  } else {
    Branch& into = as_branch(left);
    Branch& from = as_branch(right);
    from.low[0] = branch.low[at + 1];
    std::move(from.low.begin(), from.low.begin() + from.count, into.low.begin() + into.count);
    std::copy_n(from.children.begin(), from.count, into.children.begin() + into.count);
    into.total += from.total;
  }
  left->count = static_cast<uint16_t>(left->count + right->count);
  right->count = 0;  // its content has moved
  release(right);
  remove_child(branch, at + 1);
}

void rebalance(Branch& branch, size_t at) {
  Node* child = branch.children[at];
  const size_t most = child->leaf ? leaf_max : branch_max;
  if (child->count == 0) {
    release(child);
    remove_child(branch, at);
    return;
  }
  if (child->count > most / 4) return;
  // three quarters: so that the next insertion does not split again
  auto fits = [&](size_t left) {
    return branch.children[left]->count + branch.children[left + 1]->count <= most * 3 / 4;
  };
  if (at + 1 < branch.count && fits(at)) {
    merge_children(branch, at);
  } else if (at > 0 && fits(at - 1)) {
    merge_children(branch, at - 1);
  }
}

RecordRef erase_node(Node*& slot, std::string_view key) {
  Node* node = own(slot);
  if (node->leaf) {
    Leaf& leaf = as_leaf(node);
    size_t at = lower_bound(leaf, key);
    RecordRef gone = std::move(leaf.records[at]);
    std::move(leaf.records.begin() + at + 1, leaf.records.begin() + leaf.count, leaf.records.begin() + at);
    --leaf.count;
    return gone;
  }
  Branch& branch = as_branch(node);
  size_t at = child_for(branch, key);
  RecordRef gone = erase_node(branch.children[at], key);
  --branch.total;
  rebalance(branch, at);
  return gone;
}

bool visit_node(Node* node, std::string_view start, std::string_view end, void* state,
                bool (*call)(void*, const RecordRef&)) {
  if (node->leaf) {
    Leaf& leaf = as_leaf(node);
    for (size_t i = lower_bound(leaf, start); i < leaf.count; ++i) {
      if (!end.empty() && leaf.records[i]->key() >= end) return false;
      if (!call(state, leaf.records[i])) return false;
    }
    return true;
  }
  Branch& branch = as_branch(node);
  for (size_t i = child_for(branch, start); i < branch.count; ++i) {
    if (!visit_node(branch.children[i], start, end, state, call)) return false;
  }
  return true;
}

}  // namespace

Index::Index(const Index& other) : root_(share(other.root_)) {}
Index::~Index() { release(root_); }

const RecordRef* Index::find(std::string_view key) const {
  Node* node = root_;
  if (!node) return nullptr;
  while (!node->leaf) node = as_branch(node).children[child_for(as_branch(node), key)];
  Leaf& leaf = as_leaf(node);
  size_t at = lower_bound(leaf, key);
  return at < leaf.count && leaf.records[at]->key() == key ? &leaf.records[at] : nullptr;
}

RecordRef Index::put(RecordRef record) {
  if (!root_) root_ = new Leaf;
  RecordRef previous;
  auto split = put_node(root_, std::move(record), previous);
  if (split) {
    auto* above = new Branch;
    above->count = 2;
    above->children[0] = root_;
    above->children[1] = split->right;
    above->low[1] = std::move(split->low);
    recount(*above);
    root_ = above;
  }
  return previous;
}

RecordRef Index::erase(std::string_view key) {
  if (!find(key)) return {};  // first: so that nothing is copied in vain
  RecordRef gone = erase_node(root_, key);
  if (root_->count == 0) {
    release(std::exchange(root_, nullptr));
  }
  while (root_ && !root_->leaf && root_->count == 1) {
    Node* child = share(as_branch(root_).children[0]);
    release(std::exchange(root_, child));
  }
  return gone;
}

size_t Index::size() const { return root_ ? total(root_) : 0; }

size_t Index::rank(std::string_view key) const {
  size_t before = 0;
  Node* node = root_;
  if (!node) return 0;
  while (!node->leaf) {
    Branch& branch = as_branch(node);
    size_t at = child_for(branch, key);
    for (size_t i = 0; i < at; ++i) before += total(branch.children[i]);
    node = branch.children[at];
  }
  return before + lower_bound(as_leaf(node), key);
}

void Index::visit_erased(std::string_view start, std::string_view end, void* state, Call call) const {
  if (root_) visit_node(root_, start, end, state, call);
}

}  // namespace dure::store
