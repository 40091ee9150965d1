'use strict';
// The real package is a whole workflow engine; the client takes three error
// classes from it.

class ApplicationError extends Error {}

class NodeOperationError extends Error {
  constructor(node, error) {
    super(error instanceof Error ? error.message : String(error));
    this.node = node;
  }
}

class NodeApiError extends Error {
  constructor(node, response) {
    super(response.message);
    this.node = node;
  }
}

module.exports = { ApplicationError, NodeOperationError, NodeApiError };
